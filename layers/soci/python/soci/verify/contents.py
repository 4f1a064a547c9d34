"""Hash the files of a layer, so that two readings can be compared file by file."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from soci.layer.decompress import decompress_layer
from soci.layer.tar import TarReader
from soci.reasons import LeftOut
from soci.ztoc.entries import file_entry_of
from soci.ztoc.model import FileEntry


class FileHasher:
    """Hashes regular files. `add` the entries in the layer's order, before `feed` with their bytes."""

    def __init__(self) -> None:
        self.digests: list[bytes] = []
        """SHA-256 of each complete file, in order."""
        self._waiting: deque[tuple[int, int]] = deque()
        self._hash = hashlib.sha256()

    def add(self, entries: Iterable[FileEntry]) -> None:
        """Prepare for the content of these entries."""
        for entry in entries:
            if entry.type == "reg":
                start = entry.uncompressed_offset
                self._waiting.append((start, start + entry.uncompressed_size))

    def feed(self, position: int, data: bytes | memoryview) -> None:
        """Take the next bytes of the uncompressed layer, which begin at `position`."""
        after = position + len(data)
        while self._waiting and self._waiting[0][0] <= after:
            start, end = self._waiting[0]
            self._hash.update(data[max(0, start - position) : max(0, end - position)])
            if end > after:
                return
            self.digests.append(self._hash.digest())
            self._hash = hashlib.sha256()
            self._waiting.popleft()


@dataclass(frozen=True, slots=True, kw_only=True)
class TarContents:
    """The contents of a layer by its own tar, read without a zTOC."""

    entries: tuple[FileEntry, ...]
    digests: tuple[bytes, ...]
    """SHA-256 of each regular file."""
    tar_bytes: int
    left_out: LeftOut | None


def read_contents(pieces: Iterable[bytes]) -> TarContents:
    """Read a whole layer by its tar headers. Raises DamagedLayer."""
    tar, hasher = TarReader(), FileHasher()
    entries: list[FileEntry] = []
    end = 0
    for chunk in decompress_layer(pieces):
        found = [file_entry_of(entry) for entry in tar.feed(chunk)]
        entries += found
        hasher.add(found)
        hasher.feed(chunk.offset, chunk.data)
        end = chunk.offset + len(chunk.data)
    return TarContents(
        entries=tuple(entries),
        digests=tuple(hasher.digests),
        tar_bytes=tar.finish(end),
        left_out=tar.left_out,
    )


def differences(
    ztoc_files: Iterable[FileEntry], digests: Iterable[bytes], tar: TarContents
) -> Iterator[tuple[FileEntry, str]]:
    """Yield each file that differs between zTOC and tar: its entry, and the difference."""
    ztoc_digests, tar_digests = iter(digests), iter(tar.digests)
    for mine, truth in zip(ztoc_files, tar.entries, strict=False):
        named = [name for name, a, b in zip(mine._fields, mine, truth, strict=True) if a != b]
        if named == ["mod_time"] and _instant(mine.mod_time) == _instant(truth.mod_time):
            named = []
        if named:
            yield truth, f"the zTOC differs from the tar's header in {', '.join(named)}"
        mine_digest = next(ztoc_digests, b"") if mine.type == "reg" else b""
        truth_digest = next(tar_digests, b"") if truth.type == "reg" else b""
        if mine_digest != truth_digest:
            yield truth, "the content read through the spans is not that of the tar"


def _instant(text: str) -> datetime | str:
    """Parse a time for a comparison, since some builders write their own zone. Python drops nanoseconds."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return text
