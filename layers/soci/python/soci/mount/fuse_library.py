"""libfuse, through mfusepy: loading it, and what it says about a failure."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import cast

from soci.errors import MountRefused

_LIBRARY = "fuse3"
_MAX_MESSAGE_BYTES = 1024
_MAX_MESSAGES = 20


def load_fuse() -> ModuleType:
    """Import mfusepy, which loads libfuse. Raises `MountRefused`."""
    os.environ.setdefault("FUSE_LIBRARY_NAME", _LIBRARY)  # it would take version 2 where both are
    try:
        import mfusepy  # noqa: PLC0415 - an extra, which only this command needs
    except ImportError:
        raise MountRefused(
            "mount needs the Python package mfusepy: pip install mfusepy, or install soci with its extra `mount`"
        ) from None
    except (OSError, AttributeError):
        raise MountRefused("mount needs libfuse 3: install the package fuse3 of your system") from None
    if mfusepy.fuse_version_major != 3:
        raise MountRefused("mount needs libfuse 3, found version 2: install the package fuse3 of your system")
    return cast("ModuleType", mfusepy)


@contextmanager
def caught_messages(fuse: ModuleType) -> Iterator[list[str]]:
    """Collect what libfuse would print on standard error, so that an error is one line."""
    library = fuse._libfuse  # noqa: SLF001 - mfusepy does not offer fuse_set_log_func
    messages: list[str] = []
    if not hasattr(library, "fuse_set_log_func"):  # before libfuse 3.7
        yield messages
        return
    libc = ctypes.CDLL(None)

    def catch(_level: int, template: bytes, arguments: int) -> None:
        # A va_list is passed by its address on x86-64 and on aarch64.
        buffer = ctypes.create_string_buffer(_MAX_MESSAGE_BYTES)
        libc.vsnprintf(buffer, ctypes.c_size_t(len(buffer)), template, ctypes.c_void_p(arguments))
        text = buffer.value.decode("utf-8", "backslashreplace").strip()
        if text and len(messages) < _MAX_MESSAGES:
            messages.append(text.removeprefix("fuse: "))

    callback = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(catch)
    library.fuse_set_log_func(callback)
    try:
        yield messages
    finally:
        library.fuse_set_log_func(None)
