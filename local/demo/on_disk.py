"""Index an image on disk, made of this machine's files, with the command line.

Every step is a command that a user could type. The layout stays on disk for experiments.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from local.sample_image import LAYER_LIMIT_BYTES, contents, write_sample_image
from local.sample_program import program_files
from soci.places.layout.oci_layout import OciLayout

DIRECTORY = Path(".demo")
SOCI_INDEX = Path(sys.executable).with_name("soci-index")


def demonstrate(
    console: Console,
    directory: Path,
    *,
    layer_limit_bytes: int = LAYER_LIMIT_BYTES,
    convert_flags: Sequence[str] = (),
) -> str:
    """Write the image to a directory and convert it. Returns the digest of the image index."""
    image = f"oci:{directory}/image:latest"
    shutil.rmtree(directory, ignore_errors=True)
    console.print(
        f"\n[bold]1[/]  A sample image of this machine's files: {', '.join(c.name for c in contents())}",
        soft_wrap=True,
    )
    started = time.perf_counter()
    with console.status("   writing the image"):
        root = write_sample_image(
            directory / "image", "latest", layer_limit_bytes=layer_limit_bytes, program=program_files()
        )
    console.print(f"   {root.digest} in {time.perf_counter() - started:.1f} s\n", soft_wrap=True)

    console.print("[bold]2[/]  The command line indexes it on disk: one pass per layer, no temporary files")
    _run(console, "convert", image, *convert_flags)
    source = OciLayout(directory / "image", tag="latest-soci")
    return str(source.fetch_root().digest)


def _run(console: Console, *arguments: str) -> None:
    console.print(f"   $ soci-index {' '.join(arguments)}", style="cyan", soft_wrap=True)
    sys.stdout.flush()
    status = subprocess.run([SOCI_INDEX, *arguments], check=False).returncode
    if status:
        sys.exit(status)
