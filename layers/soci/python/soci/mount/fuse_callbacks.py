"""The operations as functions that libfuse calls.

mfusepy knows the structures of each version of libfuse. Its own callbacks take 35 us for a `stat`, these 10. A name
that is listed comes with its attributes (FUSE_READDIRPLUS), so `ls -l` asks once for a directory. `open` answers
ENOSYS: the kernel then opens files by itself, and keeps their content, since an image never changes.
"""

from __future__ import annotations

import ctypes
import errno
import logging
from collections.abc import Callable, Mapping
from ctypes import CFUNCTYPE, PYFUNCTYPE, c_char_p, c_int, c_int64, c_size_t, c_void_p
from itertools import islice
from types import ModuleType
from typing import Any

from soci.mount.inodes import BLOCK_BYTES, MAX_NAME_BYTES, Inode, attributes_of
from soci.mount.operations import ImageOperations

_LOG = logging.getLogger("soci.mount")

FOREVER_SECONDS = 365 * 86_400.0
"""How long the kernel may keep what it was told."""

MAX_BACKGROUND = 64
"""Reads ahead that the kernel asks for at a time."""

_PLUS = 1
"""FUSE_READDIR_PLUS: the kernel wants attributes with the names."""
_FILL_PLUS = 2
"""FUSE_FILL_DIR_PLUS: here they are."""

_FILLER = PYFUNCTYPE(c_int, c_void_p, c_char_p, c_char_p, c_int64, c_int)
"""Called with Python's lock held: it takes a microsecond, and giving up the lock for it takes longer."""

_PROTOTYPES: Mapping[str, Any] = {
    "getattr": CFUNCTYPE(c_int, c_char_p, c_void_p, c_void_p),
    "readlink": CFUNCTYPE(c_int, c_char_p, c_void_p, c_size_t),
    "open": CFUNCTYPE(c_int, c_char_p, c_void_p),
    "read": CFUNCTYPE(c_int, c_char_p, c_void_p, c_size_t, c_int64, c_void_p),
    "statfs": CFUNCTYPE(c_int, c_char_p, c_void_p),
    "getxattr": CFUNCTYPE(c_int, c_char_p, c_char_p, c_void_p, c_size_t),
    "listxattr": CFUNCTYPE(c_int, c_char_p, c_void_p, c_size_t),
    "opendir": CFUNCTYPE(c_int, c_char_p, c_void_p),
    "readdir": CFUNCTYPE(c_int, c_char_p, c_void_p, c_void_p, c_int64, c_void_p, c_int),
    "init": CFUNCTYPE(c_void_p, c_void_p, c_void_p),
}

_copy = ctypes.pythonapi.memmove  # with Python's lock held, unlike ctypes.memmove
_copy.argtypes = (c_void_p, c_char_p, c_size_t)
_copy.restype = c_void_p


class FuseCallbacks:
    """The callbacks of a mount. `on_ready` is called once, when the kernel has accepted the mount."""

    def __init__(
        self, fuse: ModuleType, operations: ImageOperations, *, on_ready: Callable[[], None]
    ) -> None:
        self.is_ready = False
        """Whether the kernel has accepted the mount."""
        self.structure = fuse.fuse_operations()
        """What libfuse takes."""
        self._fuse = fuse
        self._operations = operations
        self._find = operations.table.find
        self._on_ready = on_ready
        self._stats: dict[int, bytes] = {}
        self._stat_bytes = ctypes.sizeof(fuse.c_stat)
        names = set(_PROTOTYPES)
        if not operations.table.has_xattrs:
            names -= {"getxattr"}  # the kernel asks once, not for every file that is listed or started
        kinds = dict(fuse.fuse_operations._fields_)
        for name in names:
            callback = _PROTOTYPES[name](_answering(getattr(self, f"_{name}")))
            setattr(self.structure, name, ctypes.cast(callback, kinds[name]))
            setattr(self, f"_{name}_callback", callback)

    def _init(self, connection: int, config: int) -> int:
        _set(self._fuse.fuse_conn_info.from_address(connection), max_background=MAX_BACKGROUND)
        _set(
            self._fuse.fuse_config.from_address(config),
            use_ino=1,
            kernel_cache=1,
            entry_timeout=FOREVER_SECONDS,
            attr_timeout=FOREVER_SECONDS,
            negative_timeout=FOREVER_SECONDS,
        )
        self.is_ready = True
        self._on_ready()
        return 0

    def _getattr(self, path: bytes, target: int, _info: int) -> int:
        inode = self._find(path)
        if inode is None:
            return -errno.ENOENT
        _copy(target, self._stat(inode), self._stat_bytes)
        return 0

    def _readlink(self, path: bytes, target: int, size: int) -> int:
        link = self._operations.readlink(path)[: size - 1] + b"\0"
        _copy(target, link, len(link))
        return 0

    def _open(self, _path: bytes, _info: int) -> int:
        return -errno.ENOSYS

    def _read(self, path: bytes, target: int, size: int, offset: int, _info: int) -> int:
        data = self._operations.read(path, offset, size)
        ctypes.memmove(target, data, len(data))
        return len(data)

    def _statfs(self, _path: bytes, target: int) -> int:
        table = self._operations.table
        _set(
            self._fuse.c_statvfs.from_address(target),
            f_bsize=BLOCK_BYTES,
            f_frsize=BLOCK_BYTES,
            f_blocks=-(-table.size_bytes // BLOCK_BYTES),
            f_files=len(table.inodes),
            f_namemax=MAX_NAME_BYTES,
        )
        return 0

    def _getxattr(self, path: bytes, name: bytes, target: int | None, size: int) -> int:
        return _fill(self._operations.getxattr(path, name), target, size)

    def _listxattr(self, path: bytes, target: int | None, size: int) -> int:
        names = self._operations.listxattr(path)
        return _fill(b"".join(name + b"\0" for name in names), target, size)

    def _opendir(self, _path: bytes, info: int) -> int:
        _set(self._fuse.fuse_file_info.from_address(info), cache_readdir=1, keep_cache=1)
        return 0

    def _readdir(self, path: bytes, buffer: int, filler: int, offset: int, _info: int, flags: int) -> int:
        fill = _FILLER(filler)
        how = _FILL_PLUS if flags & _PLUS else 0
        entries = islice(self._operations.readdir(path), offset, None)
        # An offset of 0 for all would be simpler, but some versions of libfuse then drop the attributes.
        for number, (name, inode) in enumerate(entries, offset + 1):
            if fill(buffer, name, self._stat(inode), number, how):
                break  # the buffer is full: libfuse asks again, from the last number
        return 0

    def _stat(self, inode: Inode) -> bytes:
        """Return `struct stat` of an inode. It is made once."""
        made = self._stats.get(inode.number)
        if made is None:
            structure = self._fuse.c_stat()
            self._fuse.set_st_attrs(structure, attributes_of(inode), use_ns=True)
            made = self._stats[inode.number] = bytes(structure)
        return made


def _answering(function: Callable[..., int]) -> Callable[..., int]:
    """Return a callback that never raises: libfuse would take that for success."""

    def answer(*arguments: object) -> int:
        try:
            return function(*arguments)
        except OSError as error:
            return -(error.errno or errno.EIO)
        except BaseException:  # noqa: BLE001 - not even SystemExit has a way through libfuse
            _LOG.exception("%s failed", function.__name__)
            return -errno.EIO

    return answer


def _fill(data: bytes, target: int | None, size: int) -> int:
    if not size or target is None:  # asks for the size only
        return len(data)
    if len(data) > size:
        return -errno.ERANGE
    _copy(target, data, len(data))
    return len(data)


def _set(structure: Any, **values: float) -> None:  # noqa: ANN401 - a structure of ctypes
    for name, value in values.items():
        setattr(structure, name, value)
