"""The entries of a whole layer's tar, also those that a zTOC cannot express: after global headers, and sparse files.

A container needs every file, so here the tar is read as a runtime reads it. A global pax header is ignored. A sparse
file is stored without its holes; its content gets a place behind the end of the tar, where it is put together when it
is read:

    tar       | header | part 1 | part 2 | ... | end
    place                                      |     | part 1 |      | part 2 |      zeros between the parts
"""

from __future__ import annotations

import tarfile
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from soci.errors import TarError
from soci.layer.pax import parse_time
from soci.layer.tar import BLOCK_BYTES, describe_entry
from soci.reasons import LeftOut, Reason
from soci.ztoc.entries import TYPE_NAMES, UINT32_MASK, format_time
from soci.ztoc.model import FileEntry

_TYPES = {**TYPE_NAMES, b"\0": b"reg", b"S": b"reg"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseFile:
    """The content of a sparse file behind the end of the tar."""

    start: int
    size_bytes: int
    parts: tuple[tuple[int, int, int], ...]
    """Where each part begins in the file, its size, and where it begins in the tar. Parts are in order."""

    def read(self, start: int, end: int, read: Callable[[int, int], bytes]) -> bytes:
        """Return bytes [start, end) of the place. `read` reads a range of the tar."""
        start, end = start - self.start, end - self.start
        content = bytearray(end - start)
        first = max(0, bisect_right(self.parts, start, key=lambda part: part[0]) - 1)
        for at, size, in_tar in self.parts[first:]:
            from_, to = max(start, at), min(end, at + size)
            if at >= end:
                break
            if from_ < to:
                content[from_ - start : to - start] = read(in_tar + from_ - at, in_tar + to - at)
        return bytes(content)


@dataclass(slots=True)
class FoundEntries:
    """What `read_entries` finds besides the entries."""

    sparse: list[SparseFile]
    left_out: LeftOut | None = None
    """Set by an entry of a type that no runtime unpacks. The rest of the tar is not read."""


def read_entries(file: IO[bytes], found: FoundEntries, *, tar_bytes: int) -> Iterator[FileEntry]:
    """Yield all entries of a tar. Raises `TarError`."""
    place = tar_bytes
    try:
        with _Tar.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape") as tar:
            while (info := tar.next()) is not None:
                entry = _entry_of(info)
                if entry is None:
                    detail = f"type {info.type!r}, {describe_entry(_raw(info.name))}"
                    found.left_out = LeftOut(reason=Reason.UNSUPPORTED_ENTRY_TYPE, detail=detail)
                    return
                sparse: Sequence[tuple[int, int]] | None = info.sparse  # type: ignore[assignment] # not bytes
                if sparse is not None:
                    parts = tuple(_parts(sparse, info.offset_data, info.size, tar_bytes))
                    found.sparse.append(SparseFile(start=place, size_bytes=info.size, parts=parts))
                    entry = entry._replace(uncompressed_offset=place)
                    place += info.size
                yield entry
                tar.members.clear()  # tarfile keeps all of them, and does not need them
            _check_end(file, tar.offset)
    except (tarfile.TarError, OverflowError, ValueError) as error:
        raise TarError(f"tar cannot be read: {str(error)[:200]}") from None


class _Tar(tarfile.TarFile):
    """A tar whose global headers are ignored."""

    members: list[tarfile.TarInfo]

    @property  # type: ignore[override] # tarfile writes global records into what this returns
    def pax_headers(self) -> dict[str, str]:
        return {}

    @pax_headers.setter
    def pax_headers(self, headers: dict[str, str]) -> None: ...


def _entry_of(info: tarfile.TarInfo) -> FileEntry | None:
    kind = _TYPES.get(info.type)
    if kind is None:
        return None
    mtime = info.pax_headers.get("mtime")
    seconds = parse_time(mtime.encode(), key=b"mtime") if mtime else (int(info.mtime), 0)
    return FileEntry(
        name=_raw(info.name),
        type=kind.decode(),
        uncompressed_offset=info.offset_data,
        uncompressed_size=info.size if kind == b"reg" else 0,
        link_name=_raw(info.linkname),
        mode=info.mode,
        uid=info.uid & UINT32_MASK,
        gid=info.gid & UINT32_MASK,
        user_name=_raw(info.uname),
        group_name=_raw(info.gname),
        mod_time=format_time(*seconds).decode(),
        device_major=info.devmajor,
        device_minor=info.devminor,
        xattrs=tuple(sorted((_raw(key), _raw(value)) for key, value in info.pax_headers.items())),
    )


def _parts(
    sparse: Sequence[tuple[int, int]], in_tar: int, size_bytes: int, tar_bytes: int
) -> Iterator[tuple[int, int, int]]:
    """Yield the parts of a sparse file. Raises `TarError` unless they follow one another inside the file."""
    end = 0
    if size_bytes < 0:
        raise TarError(f"sparse file has {size_bytes} bytes")
    for at, size in sparse:
        if size == 0:  # ends the list, or fills it up
            continue
        if size < 0 or not end <= at <= at + size <= size_bytes or in_tar + size > tar_bytes:
            raise TarError(f"sparse file has a part of {size} bytes at byte {at} of {size_bytes}")
        yield at, size, in_tar
        end = at + size
        in_tar += size


def _check_end(file: IO[bytes], offset: int) -> None:
    """Check that the tar ends where tarfile stopped: it also stops silently at a broken header."""
    file.seek(offset)
    if file.read(BLOCK_BYTES).strip(b"\0"):
        raise TarError(f"tar header at byte {offset} is invalid")


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
