"""The ways to load an image, each from a registry, with nothing there from before."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, cast

SOCI_INDEX = Path(sys.executable).with_name("soci-index")
END_SECONDS = 60.0

Way = Callable[[str, Path], AbstractContextManager[list[Path]]]


@contextmanager
def pulled(reference: str, scratch: Path) -> Iterator[list[Path]]:
    """Pull and unpack an image. Gives the directories of its layers, the lowest first."""
    directory = scratch / "pulled"
    directory.mkdir()
    subprocess.run([sys.executable, "-m", "bench.start.pull", reference, directory], check=True)
    yield sorted((path for path in directory.iterdir() if path.is_dir()), key=lambda path: int(path.name))


@contextmanager
def mounted(reference: str, scratch: Path, *options: str) -> Iterator[list[Path]]:
    """Mount an image with a new cache. Gives the one directory."""
    directory = scratch / "mounted"
    directory.mkdir()
    command = [
        str(SOCI_INDEX),
        "mount",
        reference,
        str(directory),
        "--cache",
        str(scratch / "cache"),
        *options,
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    output = cast("IO[str]", process.stdout)
    try:
        if not output.readline().startswith("mounted "):
            raise SystemExit(f"{reference} was not mounted")
        yield [directory]
    finally:
        if process.poll() is None:
            subprocess.run(["umount", "--lazy", directory], check=False)
        process.wait(END_SECONDS)
        output.close()


def prefetched(reference: str, scratch: Path) -> AbstractContextManager[list[Path]]:
    """Mount an image; first fetch what its index names for the start."""
    return mounted(reference, scratch, "--prefetch")


PULL, LAZY, PREFETCH, START_FIRST = "pull", "lazy", "prefetch", "start-first"

WAYS: Mapping[str, Way] = {PULL: pulled, LAZY: mounted, PREFETCH: prefetched, START_FIRST: prefetched}
"""By name. The last two differ by the image: `start-first` has layers written anew."""

LABELS = {
    PULL: "pull and unpack",
    LAZY: "lazy",
    PREFETCH: "lazy, recorded prefetch",
    START_FIRST: "start files first",
}
