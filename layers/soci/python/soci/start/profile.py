"""Start profiles: which parts of which files a container reads while it starts (docs/profiles.md).

    {"version": "1.0",
     "image": {"digest": DIGEST OF THE IMAGE MANIFEST, "platform": {"architecture": ..., "os": ...}},
     "program": PATH, "starts": 1,
     "files": [{"path": PATH, "size": BYTES, "layer": DIGEST, "spans": [3, 4], "starts": 1,
                "first_ms": 12, "last_ms": 40, "ranges": [{"start": 0, "end": 4096, "first_ms": 12}]}]}

All but `version`, `path`, `first_ms` and `last_ms` may be absent. Times are milliseconds since the first read of the
start. A path that is not UTF-8 stands in `path_base64` (and `program_base64`) instead. A profile names paths and byte
ranges, so it fits the next build of an image too. It says nothing about the machine that recorded it.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from itertools import pairwise

from soci.errors import InvalidDocument
from soci.oci import gojson
from soci.oci.digest import Digest
from soci.oci.fields import Fields
from soci.oci.platform import Platform

VERSION = "1.0"

PROFILE_LIMIT_BYTES = 16 << 20
"""Room for some 100,000 files. The start of a large Python program reads about 2,500."""

MAX_FILES = 100_000
MAX_RANGES = 400_000
"""The limit for all files together."""

_MAX_BRACES = MAX_FILES + MAX_RANGES + 3
_MAX_BRACKETS = 2 * MAX_FILES + 1
"""Counted before the text is decoded: as Python's objects, 16 MiB of `{},{},{}` take 1.5 GB."""

MAX_PATH_BYTES = 4096
"""Linux cannot open a longer path (PATH_MAX)."""

MAX_MS = 24 * 3600 * 1000
"""A day. No start takes longer."""

_WHAT = "start profile"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRange:
    """Bytes [start, end) of a file, and when the start first needs some of them."""

    start: int
    end: int
    first_ms: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end:
            raise InvalidDocument(f"bytes {self.start} to {self.end} are no range")
        _check_ms(self.first_ms, self.first_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRead:
    """A file that a start reads."""

    path: bytes
    """Absolute and normal: no `.`, no `..`, no double slash. Links on the way are resolved where they were known."""
    first_ms: int
    last_ms: int
    size_bytes: int | None = None
    """The size when it was recorded. A recorder that knows paths only cannot tell it."""
    ranges: tuple[ReadRange, ...] = ()
    """In the order of first need. None means the whole file."""
    layer: Digest | None = None
    """The layer that the file came from."""
    spans: tuple[int, ...] = ()
    """The spans of that layer that hold what was read."""
    starts: int = 1
    """How many of the profile's starts read the file."""

    def __post_init__(self) -> None:
        check_path(self.path)
        _check_ms(self.first_ms, self.last_ms)
        if any(not self.first_ms <= one.first_ms <= self.last_ms for one in self.ranges):
            raise InvalidDocument(f"a range is read before {self.first_ms} ms or after {self.last_ms} ms")
        if any(before.first_ms > after.first_ms for before, after in pairwise(self.ranges)):
            raise InvalidDocument("the ranges are not in the order of their times")

    @property
    def is_whole(self) -> bool:
        """Whether all bytes of the recorded file were read, as far as is known."""
        if not self.ranges:
            return True
        if self.size_bytes is None:
            return False
        end = 0
        for one in sorted(self.ranges, key=lambda one: one.start):
            if one.start > end:
                return False
            end = max(end, one.end)
        return end >= self.size_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StartProfile:
    """What one or several starts of a container read."""

    files: tuple[FileRead, ...]
    """By the time of the first read, then by path. Each path once."""
    image: Digest | None = None
    """The digest of the image manifest that was started."""
    platform: Platform | None = None
    program: bytes | None = None
    """The path of the program: the first executable file that was read."""
    starts: int = 1
    """How many starts were merged into this profile."""

    def __post_init__(self) -> None:
        if self.program is not None:
            check_path(self.program)
        if self.starts < 1:
            raise InvalidDocument(f"starts: got {self.starts}, want at least 1")
        if [_place(one) for one in self.files] != sorted({_place(one) for one in self.files}):
            raise InvalidDocument("files: they are not in the order of their first reads, then paths")
        if len({one.path for one in self.files}) != len(self.files):
            raise InvalidDocument("files: a path occurs twice")
        if any(not 1 <= one.starts <= self.starts for one in self.files):
            raise InvalidDocument(f"files: a file was read by no start, or by more than {self.starts}")


def make_profile(
    files: list[FileRead],
    *,
    image: Digest | None = None,
    platform: Platform | None = None,
    program: bytes | None = None,
    starts: int = 1,
) -> StartProfile:
    """Return the profile of files in any order. Raises `InvalidDocument` when a path occurs twice."""
    ordered = tuple(sorted(files, key=_place))
    return StartProfile(files=ordered, image=image, platform=platform, program=program, starts=starts)


def encode_profile(profile: StartProfile) -> bytes:
    """Return the profile as JSON, one line for each file. Equal profiles have equal bytes."""
    head: dict[str, object] = {"version": VERSION}
    image: dict[str, object] = {}
    if profile.image is not None:
        image["digest"] = str(profile.image)
    if profile.platform is not None:
        image["platform"] = profile.platform.to_json()
    if image:
        head["image"] = image
    if profile.program is not None:
        head |= _path_member("program", profile.program)
    head["starts"] = profile.starts
    files = b",\n".join(gojson.encode(_file_document(one)) for one in profile.files)
    return gojson.encode(head)[:-1] + b',"files":[' + (b"\n" + files + b"\n" if files else b"") + b"]}\n"


def parse_profile(data: bytes) -> StartProfile:
    """Read a profile.

    Raises:
        InvalidDocument: this is no profile, has another version, is too large, or says what cannot be.
    """
    if data.count(b"{") > _MAX_BRACES or data.count(b"[") > _MAX_BRACKETS:
        raise InvalidDocument(f"{_WHAT}: more than {MAX_FILES} files or {MAX_RANGES} ranges")
    fields = Fields(gojson.decode(data, _WHAT, limit_bytes=PROFILE_LIMIT_BYTES), _WHAT)
    if (version := fields.string("version")) != VERSION:
        raise fields.invalid("version", f"got {version[:40]!r}, want {VERSION!r}")
    image = fields.optional_child("image")
    platform = image.optional_child("platform") if image else None
    documents = fields.children("files") or ()
    if len(documents) > MAX_FILES:
        raise fields.invalid("files", f"got {len(documents)} files, the limit is {MAX_FILES}")
    files = []
    ranges = 0
    for number, document in enumerate(documents):
        files.append(_parse_file(fields, f"files[{number}]", document))
        ranges += len(files[-1].ranges)
        if ranges > MAX_RANGES:
            raise fields.invalid("files", f"more than {MAX_RANGES} ranges")
    try:
        return StartProfile(
            files=tuple(files),
            image=image.digest("digest") if image and image.has("digest") else None,
            platform=Platform.from_json(platform) if platform else None,
            program=_parse_path(fields, "program"),
            starts=_whole_number(fields, "starts", 1),
        )
    except InvalidDocument as error:
        raise _named(error, _WHAT) from None


def check_path(path: bytes) -> None:
    """Check that a path is absolute and normal. Raises `InvalidDocument`."""
    parts = path.split(b"/")
    is_normal = len(parts) > 1 and not parts[0] and not {b"", b".", b".."} & set(parts[1:])
    if not is_normal or b"\0" in path or len(path) > MAX_PATH_BYTES:
        raise InvalidDocument(
            f"path: {path[:100]!r} is no absolute, normal path of at most {MAX_PATH_BYTES} bytes"
        )


def _place(one: FileRead) -> tuple[int, bytes]:
    return one.first_ms, one.path


def _file_document(one: FileRead) -> dict[str, object]:
    document: dict[str, object] = dict(_path_member("path", one.path))
    if one.size_bytes is not None:
        document["size"] = one.size_bytes
    if one.layer is not None:
        document["layer"] = str(one.layer)
    if one.spans:
        document["spans"] = list(one.spans)
    document |= {"starts": one.starts, "first_ms": one.first_ms, "last_ms": one.last_ms}
    if one.ranges:
        document["ranges"] = [
            {"start": part.start, "end": part.end, "first_ms": part.first_ms} for part in one.ranges
        ]
    return document


def _path_member(name: str, path: bytes) -> dict[str, str]:
    try:
        return {name: path.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": binascii.b2a_base64(path, newline=False).decode()}


def _parse_path(fields: Fields, name: str) -> bytes | None:
    if fields.has(f"{name}_base64"):
        return fields.data(f"{name}_base64")
    return fields.string(name).encode() if fields.has(name) else None


def _parse_file(profile: Fields, where: str, fields: Fields) -> FileRead:
    spans = fields.integers("spans")
    if any(number < 0 for number in spans):
        raise profile.invalid(f"{where}.spans", "a span has a negative number")
    try:
        return FileRead(
            path=_parse_path(fields, "path") or b"",
            first_ms=_whole_number(fields, "first_ms"),
            last_ms=_whole_number(fields, "last_ms"),
            size_bytes=fields.size("size") if fields.has("size") else None,
            ranges=tuple(
                ReadRange(
                    start=part.size("start"), end=part.size("end"), first_ms=_whole_number(part, "first_ms")
                )
                for part in fields.children("ranges") or ()
            ),
            layer=fields.digest("layer") if fields.has("layer") else None,
            spans=spans,
            starts=_whole_number(fields, "starts", 1),
        )
    except InvalidDocument as error:
        raise _named(error, f"{_WHAT}: {where}") from None


def _whole_number(fields: Fields, name: str, default: int | None = None) -> int:
    return fields.size(name) if fields.has(name) or default is None else default


def _named(error: InvalidDocument, where: str) -> InvalidDocument:
    """Say where a value lies that is invalid by itself. `Fields` names the place already."""
    text = str(error)
    return error if text.startswith(_WHAT) else InvalidDocument(f"{where}: {text}")


def _check_ms(first: int, last: int) -> None:
    if not 0 <= first <= last <= MAX_MS:
        raise InvalidDocument(f"times {first} ms to {last} ms are not in order, or outside 0 to {MAX_MS}")
