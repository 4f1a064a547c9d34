"""The loop that answers the kernel, from the mount to its end.

libfuse takes SIGINT, SIGTERM and SIGHUP meanwhile: each ends the mount, as `umount` does.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from soci.errors import MountRefused
from soci.mount.fuse_callbacks import FuseCallbacks
from soci.mount.fuse_library import caught_messages, load_fuse
from soci.mount.mount_point import others_may_look
from soci.mount.operations import ImageOperations

_TYPE = "soci-index"
_MAX_THREADS = 64
"""Of libfuse. A read that waits for the network keeps one busy."""

_MAX_THREADS_SINCE = 12
"""Version 3.12 of libfuse got the option, with a default of 10. Before, there was no limit."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

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


def serve(
    operations: ImageOperations, directory: Path, options: MountOptions, *, on_ready: Callable[[], None]
) -> None:
    """Mount, and answer the kernel until the mount ends. Call it in the main thread.

    Raises:
        MountRefused: the mount failed. `on_ready` was not called then.
    """
    fuse = load_fuse()
    here = Path.cwd()

    def tell_ready() -> None:
        os.chdir(here)  # libfuse has gone to /, and an image on disk may be named by a relative path
        on_ready()

    callbacks = FuseCallbacks(fuse, operations, on_ready=tell_ready)
    arguments = [b"soci-index", b"-f", b"-o", _options(fuse, options), os.fsencode(directory)]
    with caught_messages(fuse) as messages, _signals_for_libfuse():
        status = fuse.fuse_main_real(
            len(arguments),
            (ctypes.c_char_p * len(arguments))(*arguments),
            ctypes.byref(callbacks.structure),
            ctypes.c_size_t(ctypes.sizeof(callbacks.structure)),
            None,
        )
    if status and (status != _ENDED_BY_SIGNAL or not callbacks.is_ready):
        why = "; ".join(messages) or f"libfuse ended with status {status}"
        raise MountRefused(f"{directory}: the mount failed: {why}")


def _options(fuse: ModuleType, options: MountOptions) -> bytes:
    chosen = [
        f"fsname={_escaped(options.name)}",
        f"subtype={_TYPE}",
        "ro",
        "default_permissions",
        f"max_idle_threads={_MAX_THREADS}",
    ]
    if fuse.fuse_version_minor >= _MAX_THREADS_SINCE:
        chosen.append(f"max_threads={_MAX_THREADS}")
    switches = {"allow_other": others_may_look(), "suid": options.suid, "dev": options.dev}
    chosen += [name for name, is_on in switches.items() if is_on]
    return ",".join(chosen).encode("utf-8", "surrogateescape")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace(",", "\\,")


@contextmanager
def _signals_for_libfuse() -> Iterator[None]:
    """Let libfuse have the signals: it takes only those that nobody else has taken."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
