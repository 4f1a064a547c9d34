"""The loop that answers the kernel, from the mount to its end.

libfuse takes SIGINT, SIGTERM and SIGHUP meanwhile: each ends the mount, as `umount` does.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from soci.errors import MountRefused
from soci.mount.fuse_library import caught_messages, load_fuse
from soci.mount.mount_point import others_may_look
from soci.mount.operations import ImageOperations

_TYPE = "soci-index"
_MAX_THREADS = 64
"""Of libfuse. A read that waits for the network keeps one busy."""

_MAX_THREADS_SINCE = 12
"""Version 3.12 of libfuse got the option, with a default of 10. Before, there was no limit."""

_ENDED_BY_SIGNAL = 8
"""libfuse's status when its loop ended otherwise than by `umount`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MountOptions:
    """How an image is mounted."""

    name: str
    """What `findmnt` shows as the source."""
    suid: bool = False
    """Whether set-user-id bits and file capabilities of the image count."""
    dev: bool = False
    """Whether device files of the image can be opened."""


def serve(operations: ImageOperations, directory: Path, options: MountOptions) -> None:
    """Mount, and answer the kernel until the mount ends. Call it in the main thread. Raises `MountRefused`."""
    fuse = load_fuse()
    arguments: dict[str, object] = {
        "fsname": _escaped(options.name),
        "subtype": _TYPE,
        "ro": True,
        "default_permissions": True,
        "allow_other": others_may_look(),
        "suid": options.suid,
        "dev": options.dev,
        "max_idle_threads": _MAX_THREADS,
    }
    if fuse.fuse_version_minor >= _MAX_THREADS_SINCE:
        arguments["max_threads"] = _MAX_THREADS
    with caught_messages(fuse) as messages, _signals_for_libfuse():
        try:
            fuse.FUSE(operations, str(directory), foreground=True, **arguments)
        except RuntimeError as error:
            if error.args != (_ENDED_BY_SIGNAL,) or not operations.is_ready:
                why = "; ".join(messages) or f"libfuse ended with status {error}"
                raise MountRefused(f"{directory}: the mount failed: {why}") from None


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace(",", "\\,")


@contextmanager
def _signals_for_libfuse() -> Iterator[None]:
    """Libfuse takes only signals that nobody else has taken."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
