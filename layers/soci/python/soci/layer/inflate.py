"""Inflate through ctypes, with stops at block boundaries, which Python's own zlib module cannot do.

Two engines export the same functions: zlib-ng (in the wheel `zlib-ng`, twice as fast) and the system's
`libz.so.1`. Both give the same output, to the byte (docs/adr/0001).

The stream structure, native alignment on 64-bit Linux (zlib.h, zlib-ng.h):

    offset  bytes  field      | offset  bytes  field
    0       8      next_in    | 48      8      msg
    8       4      avail_in   | 56      8      state
    16      8      total_in   | 64      24     zalloc, zfree, opaque
    24      8      next_out   | 88      4      data_type: unused bits 0-7, 64 last block, 128 block boundary
    32      4      avail_out  | 92            checksum and padding, not used: 104 bytes in all
    40      8      total_out  |               for zlib-ng, 112 for zlib
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from dataclasses import dataclass
from typing import Any

NO_FLUSH = 0
BLOCK = 5
"""Z_BLOCK: stop at the next boundary of a deflate block."""

OK = 0
STREAM_END = 1
BUF_ERROR = -5
"""No progress: the call needs more input or more room."""

LAST_BLOCK = 64
BLOCK_BOUNDARY = 128
UNUSED_BITS = 7

GZIP_WINDOW_BITS = 15 + 16
"""A window of 32 KiB, and a gzip header. inflate then refuses a zlib header, as every tar reader does."""

RAW_WINDOW_BITS = -15
"""A window of 32 KiB, and no header."""


class ZStream(ctypes.Structure):
    """`z_stream` and `zng_stream`. Both are equal up to `data_type`. The size is that of the larger one."""

    _fields_ = (
        ("next_in", ctypes.c_void_p),
        ("avail_in", ctypes.c_uint),
        ("total_in", ctypes.c_size_t),
        ("next_out", ctypes.c_void_p),
        ("avail_out", ctypes.c_uint),
        ("total_out", ctypes.c_size_t),
        ("msg", ctypes.c_char_p),
        ("state", ctypes.c_void_p),
        ("zalloc", ctypes.c_void_p),
        ("zfree", ctypes.c_void_p),
        ("opaque", ctypes.c_void_p),
        ("data_type", ctypes.c_int),
        ("rest", ctypes.c_char * 20),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An inflate library: its name and version for `--version`, and its functions."""

    name: str
    version: str
    stream_bytes: int
    inflate: Any
    inflate_init2: Any
    inflate_reset: Any
    inflate_end: Any
    inflate_set_dictionary: Any
    inflate_prime: Any


def _engine(
    library: ctypes.CDLL, *, name: str, prefix: str, version_function: str, stream_bytes: int
) -> Engine:
    version = getattr(library, version_function)
    version.restype = ctypes.c_char_p
    stream = ctypes.POINTER(ZStream)
    functions = {}
    for function, arguments in {
        "inflate": (stream, ctypes.c_int),
        "inflateInit2_": (stream, ctypes.c_int, ctypes.c_char_p, ctypes.c_int),
        "inflateReset": (stream,),
        "inflateEnd": (stream,),
        "inflateSetDictionary": (stream, ctypes.c_void_p, ctypes.c_uint),
        "inflatePrime": (stream, ctypes.c_int, ctypes.c_int),
    }.items():
        functions[function] = getattr(library, prefix + function)
        functions[function].argtypes = arguments
        functions[function].restype = ctypes.c_int
    return Engine(
        name=name,
        version=version().decode(),
        stream_bytes=stream_bytes,
        inflate=functions["inflate"],
        inflate_init2=functions["inflateInit2_"],
        inflate_reset=functions["inflateReset"],
        inflate_end=functions["inflateEnd"],
        inflate_set_dictionary=functions["inflateSetDictionary"],
        inflate_prime=functions["inflatePrime"],
    )


@functools.cache
def open_zlib_ng() -> Engine:
    """Load zlib-ng from the extension module of the `zlib-ng` package.

    Raises:
        ImportError: the package is not installed.
        OSError, AttributeError: the library cannot be loaded or lacks a function.
    """
    spec = importlib.util.find_spec("zlib_ng.zlib_ng")
    if spec is None or spec.origin is None:
        raise ImportError("the zlib-ng package is not installed")
    library = ctypes.CDLL(spec.origin)
    return _engine(
        library, name="zlib-ng", prefix="zng_", version_function="zlibng_version", stream_bytes=104
    )


@functools.cache
def open_libz() -> Engine:
    """Load the system's zlib. Raises OSError if there is none."""
    library = ctypes.CDLL("libz.so.1")
    return _engine(library, name="zlib", prefix="", version_function="zlibVersion", stream_bytes=112)


@functools.cache
def default_engine() -> Engine:
    """Return zlib-ng, or the system's zlib if the wheel does not support this platform."""
    try:
        return open_zlib_ng()
    except (ImportError, OSError, AttributeError):
        return open_libz()


class Inflater:
    """An inflate stream over gzip or raw deflate data, with the fields of its `ZStream`.

    The caller sets `stream.next_in`, `avail_in`, `next_out` and `avail_out`, and keeps their memory alive.
    """

    __slots__ = ("_engine", "_inflate", "_reference", "stream")

    def __init__(self, engine: Engine, *, window_bits: int = GZIP_WINDOW_BITS) -> None:
        self.stream = ZStream()
        self._reference = ctypes.byref(self.stream)
        self._engine = engine
        self._inflate = engine.inflate
        status = engine.inflate_init2(
            self._reference, window_bits, engine.version.encode(), engine.stream_bytes
        )
        if status != OK:
            raise MemoryError(f"{engine.name} cannot start to inflate: status {status}")

    def inflate(self, flush: int) -> int:
        """Run until the input or the room is used up, or to the next block boundary. Frees the GIL meanwhile."""
        return int(self._inflate(self._reference, flush))

    def reset(self) -> None:
        """Start again, for the next gzip member."""
        self._engine.inflate_reset(self._reference)

    def resume(self, window: bytes, *, bits: int, value: int) -> None:
        """Prepare a raw stream to start in the midst of data, with `bits` unread bits of `value` and a window."""
        if bits:
            self._engine.inflate_prime(self._reference, bits, value)
        self._engine.inflate_set_dictionary(self._reference, window, len(window))

    def message(self, status: int) -> str:
        """Return zlib's message on a failed call."""
        return self.stream.msg.decode("ascii", "replace") if self.stream.msg else f"status {status}"

    def __del__(self) -> None:
        if self.stream.state:
            self._engine.inflate_end(self._reference)
