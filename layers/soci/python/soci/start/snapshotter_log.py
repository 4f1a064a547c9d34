"""The log of the format owner's snapshotter as the recording of a start (docs/profiles.md).

With `log_fuse_operations = true` and the log level debug, the snapshotter writes a line for each operation:

    {"level":"debug","msg":"FUSE operation","operation":"file.Read","path":"bin/sh","time":"2026-08-20T14:03:22.1Z"}

or the same as `key=value` pairs. The path is that within a layer; the line names no layer, no image and no part of the
file, so a file that is read counts as read whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone

from soci.start.gathered import GatheredReads, is_path
from soci.start.recording import Clock, Recording

_OPERATION = "file.Read"
_WRAPPERS = ("MESSAGE", "message", "log")
"""Where journald and collectors of logs keep the line of a program."""

_STATE_DIRECTORY = b"/.soci-snapshotter/"
_REPLACED = "\ufffd".encode()

_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII
)
_PAIR = re.compile(r'(?<![\w.-])([A-Za-z_][\w.-]*)=("(?:[^"\\]|\\.)*"|"|[^\s"]*)', re.ASCII)
_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|([0-7]{3})|(.))", re.DOTALL)
_LETTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SnapshotterLog:
    """Reads a log line by line. Lines of anything but reads are counted and passed over."""

    def __init__(self) -> None:
        self._reads = GatheredReads()
        self._clock = Clock()
        self._lines = self._used = self._unusable = 0
        self._first_unusable: str | None = None

    def feed(self, line: bytes) -> None:
        """Read the next line."""
        self._lines += 1
        if _OPERATION.encode() not in line:
            return
        fields = _fields(line)
        if fields is None:
            self._refuse("it is neither JSON nor key=value pairs")
        elif fields.get("operation") == _OPERATION:
            self._add(fields)

    def finish(self) -> Recording:
        """Return what the log holds."""
        notes = []
        if self._first_unusable:
            notes.append(
                f"lines about reads that cannot be used: {self._unusable}, the first is {self._first_unusable}"
            )
        return Recording(
            reads=self._reads,
            program=None,
            lines=self._lines,
            other_lines=self._lines - self._used - self._unusable,
            notes=tuple(notes),
        )

    def _add(self, fields: Mapping[str, object]) -> None:
        path = _path(fields.get("path"))
        if path is None:
            self._refuse("its path cannot be read")
            return
        at_ns = parse_time(fields.get("time"))
        if at_ns is None and "time" in fields:
            self._refuse(f"its time is {str(fields['time'])[:40]!r}")
            return
        self._used += 1
        if not path.startswith(_STATE_DIRECTORY):
            self._reads.add_whole(path, self._clock.at(at_ns))

    def _refuse(self, why: str) -> None:
        self._unusable += 1
        self._first_unusable = self._first_unusable or f"line {self._lines}: {why}"


def parse_time(text: object) -> int | None:
    """Return an RFC 3339 time in nanoseconds since 1970; None if it is none."""
    match = _TIME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    offset = timedelta(hours=int(match[9] or 0), minutes=int(match[10] or 0))
    try:
        zone = timezone(-offset if match[8] == "-" else offset)
        year, month, day, hour, minute, second = map(int, match.groups()[:6])
        at = datetime(year, month, day, hour, minute, second, tzinfo=zone) - _EPOCH
    except (ValueError, OverflowError):
        return None
    return (at.days * 86_400 + at.seconds) * 10**9 + int((match[7] or "").ljust(9, "0"))


def _fields(line: bytes) -> Mapping[str, object] | None:
    """Return the fields of a line, which may have something in front, such as journald's time and host."""
    text = line.decode("utf-8", "surrogateescape")
    at = text.find("{")
    if at < 0:
        return _pairs(text)
    fields = _json_object(text[at:])
    for name in _WRAPPERS:
        if fields is not None and "operation" not in fields and isinstance(inner := fields.get(name), str):
            return _json_object(inner.strip()) if inner.lstrip().startswith("{") else _pairs(inner)
    return _pairs(text) if fields is None else fields


def _json_object(text: str) -> Mapping[str, object] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _pairs(text: str) -> Mapping[str, object] | None:
    pairs = {}
    for match in _PAIR.finditer(text):
        if match[2] == '"':  # it never ends; neither would one behind it
            break
        pairs[match[1]] = _unquoted(match[2])
    return pairs or None


def _unquoted(text: str) -> str:
    if not text.startswith('"'):
        return text
    return _ESCAPE.sub(_character, text[1:-1])


def _character(match: re.Match[str]) -> str:
    if match[1] or match[4]:
        return bytes([int(match[1], 16) if match[1] else int(match[4], 8) & 0xFF]).decode(
            "utf-8", "surrogateescape"
        )
    if code := match[2] or match[3]:
        number = int(code, 16)
        return chr(number) if number < 0x110000 else "\ufffd"
    return _LETTERS.get(match[5], match[5])


def _path(text: object) -> bytes | None:
    """Return an absolute path; None for what is none. Go's JSON has lost what was not UTF-8."""
    if not isinstance(text, str):
        return None
    try:
        path = b"/" + text.encode("utf-8", "surrogateescape").removeprefix(b"/")
    except UnicodeEncodeError:
        return None
    return path if is_path(path) and _REPLACED not in path else None
