"""`make demo`: an image of this machine's files is indexed, and one file is read through the index.

Every step is the command a user would type; the layout stays in .demo to play with.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.panel import Panel

from local.sample_image import LAYER_LIMIT_BYTES, contents, write_sample_image

DIRECTORY = Path(".demo")
WANTED_FILE = "json/decoder.py"
"""A small file in the midst of a large layer: the standard library has it everywhere."""

SHOWN_LINES = 3

SOCI_INDEX = Path(sys.executable).with_name("soci-index")
_MB = 1_000_000


def main() -> None:
    """Run the demonstration; any failing step ends it with that step's status."""
    demonstrate(DIRECTORY, wanted_file=WANTED_FILE)


def demonstrate(
    directory: Path,
    *,
    wanted_file: str,
    layer_limit_bytes: int = LAYER_LIMIT_BYTES,
    convert_flags: Sequence[str] = (),
) -> None:
    """Make the image in a directory of its own, convert it and read the file whose path ends so."""
    console = Console(highlight=False, soft_wrap=True)
    image = f"oci:{directory}/image:latest"
    shutil.rmtree(directory, ignore_errors=True)
    console.print(
        Panel.fit("[bold]SOCI index builder[/]: an image in, an index out, a file through the index")
    )
    console.print(
        f"\n[bold]1[/]  A sample image of this machine's files: {', '.join(c.name for c in contents())}"
    )
    started = time.perf_counter()
    root = write_sample_image(directory / "image", "latest", layer_limit_bytes=layer_limit_bytes)
    console.print(f"   {root.digest} in {time.perf_counter() - started:.1f} s\n")

    console.print("[bold]2[/]  Index it: one pass over each layer, no temporary file")
    _run(console, "convert", image, *convert_flags)

    console.print("\n[bold]3[/]  Read one file through the index")
    _show_file(console, f"{image}-soci", wanted_file)

    console.print(f"The image stays in {directory}. Try:")
    for command in (f"verify {image}-soci", f"ls -l {image}-soci /app", f"inspect {image}-soci"):
        console.print(f"   {SOCI_INDEX.parent}/soci-index {command}", style="dim")


def _show_file(console: Console, image: str, suffix: str) -> None:
    """Show how a file begins, and how much had to be read for it."""
    listing = json.loads(_output("ls", image, "/usr/local", "--recursive", "--json"))
    path = next(str(entry["path"]) for entry in listing["entries"] if entry["path"].endswith(f"/{suffix}"))
    console.print(f"   $ soci-index cat {image} {path}", style="cyan")
    for line in _output("cat", image, path).splitlines()[:SHOWN_LINES]:
        console.print(f"   {line}", style="dim", markup=False)
    read = json.loads(_output("cat", image, path, "--json"))
    share = read["bytes_read"] / read["image_bytes"]
    console.print(
        f"   {path}: {read['size_bytes']:,} bytes, for which [bold]{read['bytes_read'] / _MB:.1f} MB[/] were read "
        f"out of [bold]{read['image_bytes'] / _MB:.1f} MB[/] ({share:.1%}): documents, zTOCs, the spans of the "
        "file, and the layer that is too small for an index\n"
    )


def _run(console: Console, *arguments: str) -> None:
    console.print(f"   $ soci-index {' '.join(arguments)}", style="cyan")
    status = subprocess.run([SOCI_INDEX, *arguments], check=False).returncode
    if status:
        sys.exit(status)


def _output(*arguments: str) -> str:
    return subprocess.check_output([SOCI_INDEX, *arguments], text=True)


if __name__ == "__main__":
    main()
