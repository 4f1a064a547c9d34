"""`make demo`: index an image on disk, then push it, and the service indexes it by itself."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.panel import Panel

from local.demo.on_disk import DIRECTORY, demonstrate
from local.demo.reader import DemoFailed
from local.demo.service import start_system, tell
from local.sample_image import write_sample_image
from local.system.system import LocalSystem

LAYER_LIMIT_BYTES = 64 << 20
WANTED_FILE = "json/decoder.py"
"""A small file in a large layer. Every standard library has it."""

SMALL_LAYER_LIMIT_BYTES = 256 << 10
INTERRUPTED = 130
"""The exit status after Ctrl-C."""


def main() -> None:
    """Run the demonstration. Exit status 0 if every check passes."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console(highlight=False)
    begun = time.perf_counter()
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(start_system)
        try:
            run(console, starting, DIRECTORY)
        except KeyboardInterrupt:
            console.print("\nstopped", style="yellow")
            sys.exit(INTERRUPTED)
        except DemoFailed as failed:
            console.print(f"\n{failed}", style="red", markup=False)
            sys.exit(1)
        finally:
            starting.cancel()
            _close(starting)
    console.print(f"[green]✓[/] done in {time.perf_counter() - begun:.0f} s; nothing left this machine")


def run(
    console: Console,
    starting: Future[LocalSystem],
    directory: Path,
    *,
    wanted_file: str = WANTED_FILE,
    layer_limit_bytes: int = LAYER_LIMIT_BYTES,
    convert_flags: Sequence[str] = (),
) -> None:
    """Run both parts of the demonstration, with the image on disk in `directory`. Raises DemoFailed."""
    console.print(
        Panel.fit("[bold]SOCI index builder[/]: an image in, an index out, a file through the index")
    )
    by_hand = demonstrate(
        console, directory, layer_limit_bytes=layer_limit_bytes, convert_flags=convert_flags
    )
    small = directory / "small"
    write_sample_image(small, "latest", layer_limit_bytes=SMALL_LAYER_LIMIT_BYTES)
    console.print("\n[bold]3[/]  The service: the stack as it would be deployed, on this machine")
    published = tell(console, starting, directory / "image", small, wanted_file=wanted_file)
    if published != by_hand:
        raise DemoFailed(f"the service published {published}, the command line {by_hand}")
    console.print(
        f"   The service and the command line made the same image index:\n   {published}", soft_wrap=True
    )
    console.print(
        f"   The image stays in {directory}. Try: soci-index ls -l oci:{directory}/image:latest-soci /app"
    )


def _close(starting: Future[LocalSystem]) -> None:
    if starting.done() and not starting.cancelled() and starting.exception() is None:
        starting.result().close()


if __name__ == "__main__":
    main()
