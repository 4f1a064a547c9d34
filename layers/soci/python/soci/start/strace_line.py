r"""One line of strace's output: who, when, which call with which arguments, and what came of it (strace(1)).

    12412 21:49:53.704271 openat(AT_FDCWD</app>, "lib.so", O_RDONLY|O_CLOEXEC) = 3</app/lib.so>
    [pid 12413] 1724162602.123456 read(4,  <unfinished ...>
    [pid 12413]      0.000087 <... read resumed>"\177ELF"..., 832) = 832 <0.000012>

Text is Latin-1: a character is a byte. strace escapes what does not print.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_PREFIX = re.compile(
    r"(?:\[pid\s+(\d{1,10})(?:<[^<>]*>)?\]\s+|(\d{1,10})(?:<[^<>]*>)?\s+(?=\S))?"
    r"(?:(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?\s+|\s*(\d{1,12})\.(\d{1,9})\s+)?"
    r"(?:\(\+\s*\d+\.\d+\)\s+)?"
    r"(?:\[\s*[0-9a-f?]+\]\s+){0,2}",  # -n, -i: the number of the call, the place in the program
    re.ASCII,
)
_COLLECTED = re.compile(
    r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:?\d\d)?\s+"
    r"(?:[\w.-]+(?:/[\w.-]+)+\s+)?(?:std(?:err|out)\s+[FP]\s+)?",
    re.ASCII,
)
"""What `aws logs tail` and container runtimes put in front of a line: time and stream."""
_CALL = re.compile(r"([a-z_][a-z0-9_]*)\(", re.ASCII)
_RESUMED = re.compile(r"<\.\.\. ([a-z_][a-z0-9_]*) resumed>\s?", re.ASCII)
_UNFINISHED = ("<unfinished ...>", "<detached ...>")
_TOKEN = re.compile(
    r'"(?:[^"\\]|\\.)*"(?:\.\.\.)?'  # a string, perhaps cut short
    r"|<(?:->|<[^<>]*>|\\.|[^<>\\])*>"  # what -y adds to a descriptor
    r"|/\*.*?\*/"
    r'|[^"<(\[{)\]},/]+'
    r"|.",
    re.DOTALL,
)
_OPENERS = '"</'
_MAX_LONE = 16
_RESULT = re.compile(r"\s*= (?:(-?\d{1,20}|0x[0-9a-f]{1,16})(<(?:->|<[^<>]*>|\\.|[^<>\\])*>)?|\?)", re.ASCII)
_DESCRIPTOR = re.compile(r"(\d{1,10}|AT_FDCWD)(?:<((?:<[^<>]*>|\\.|[^<>\\])*)>)?(\(deleted\))?", re.ASCII)
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"(\.\.\.)?', re.DOTALL)
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{1,2})|([0-7]{1,3})|(.))", re.DOTALL)
_LETTERS = {"n": "\n", "t": "\t", "v": "\v", "f": "\f", "r": "\r", "a": "\a", "b": "\b"}
_EPOCH_SECONDS = 10**8
"""Greater numbers of seconds are times (-ttt), smaller ones the distance to the line before (-r)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """What stands before the call."""

    pid: int | None
    clock_ns: int | None = None
    """Since midnight (-t, -tt)."""
    epoch_ns: int | None = None
    """Since 1970 (-ttt)."""
    after_ns: int | None = None
    """Since the line before (-r)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A finished call."""

    arguments: tuple[str, ...]
    result: int | None
    """None if strace does not know it. A failed call has a negative one."""
    result_path: bytes | None
    """The path of the descriptor that the call returned (-y)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A descriptor as an argument: its number, None for the working directory, and its path if -y shows it."""

    number: int | None
    path: bytes | None
    """Empty for what is no file any more, or never was: a socket, a pipe, a deleted file."""


def parse_prefix(text: str) -> tuple[Prefix, str]:
    """Return what stands before the call, and the rest of the line."""
    collected = _COLLECTED.match(text) if text[4:5] == "-" else None
    match = _PREFIX.match(text, collected.end() if collected else 0)
    assert match is not None  # noqa: S101 - all of its parts are optional
    pid = match[1] or match[2]
    clock = epoch = after = None
    if match[3]:
        clock = ((int(match[3]) * 60 + int(match[4])) * 60 + int(match[5])) * 10**9 + _fraction_ns(match[6])
    elif match[7]:
        ns = int(match[7]) * 10**9 + _fraction_ns(match[8])
        epoch, after = (ns, None) if int(match[7]) >= _EPOCH_SECONDS else (None, ns)
    prefix = Prefix(pid=int(pid) if pid else None, clock_ns=clock, epoch_ns=epoch, after_ns=after)
    return prefix, text[match.end() :]


def parse_name(text: str) -> tuple[str, str] | None:
    """Return the name of a call and the text behind its parenthesis; None if this is no call."""
    match = _CALL.match(text)
    return (match[1], text[match.end() :]) if match else None


def parse_resumed(text: str) -> tuple[str, str] | None:
    """Return the name of a call that goes on, and the rest of it."""
    match = _RESUMED.match(text)
    return (match[1], text[match.end() :]) if match else None


def unfinished(text: str) -> str | None:
    """Return the beginning of a call that another line finishes."""
    text = text.rstrip()
    mark = next((mark for mark in _UNFINISHED if text.endswith(mark)), None)
    return None if mark is None else text[: -len(mark)].rstrip()


def parse_call(text: str) -> Call | None:
    """Read arguments and result: all that stands behind the opening parenthesis. None if it does not end so."""
    arguments: list[str] = []
    at = begin = depth = lone = 0
    while match := _TOKEN.match(text, at):
        word = match[0]
        at = match.end()
        if word in "([{":
            depth += 1
        elif word == ")" and not depth:
            if begin or text[: at - 1].strip():
                arguments.append(text[begin : at - 1].strip())
            break
        elif word in ")]}":
            depth -= 1
        elif word in _OPENERS:  # what it opens never ends: each would be looked for in all of the rest
            lone += 1
            if lone > _MAX_LONE or word == '"':
                return None
        elif word == "," and not depth:
            arguments.append(text[begin : at - 1].strip())
            begin = at
    else:
        return None
    result = _RESULT.match(text, at)
    if result is None:
        return None
    path = _decorated_path(result[2][1:-1]) if result[2] else None
    return Call(
        arguments=tuple(arguments),
        result=int(result[1], 16 if result[1].startswith("0x") else 10) if result[1] else None,
        result_path=path,
    )


def parse_descriptor(text: str) -> Opened | None:
    """Read a descriptor as strace writes it: `3`, `3</etc/passwd>`, `AT_FDCWD</app>`."""
    match = _DESCRIPTOR.match(text)
    if match is None:
        return None
    path = None if match[2] is None else b"" if match[3] else _decorated_path(match[2]) or b""
    return Opened(number=None if match[1] == "AT_FDCWD" else int(match[1]), path=path)


def parse_string(text: str) -> tuple[bytes, bool] | None:
    """Return the bytes of a string, and whether strace cut it short."""
    match = _STRING.match(text)
    return (unescaped(match[1]), match[2] is not None) if match else None


def parse_number(text: str) -> int | None:
    """Read a number as C writes it: decimal, 0x... or an octal with a leading zero."""
    text = text.strip("[]")
    if len(text) > 22 or not text.isascii():
        return None
    try:
        return int(text, 8) if len(text) > 1 and text.startswith("0") and text.isdigit() else int(text, 0)
    except ValueError:
        return None


def unescaped(text: str) -> bytes:
    """Undo the escapes of strace: octal, hexadecimal (-x) and C's letters."""
    if "\\" in text:
        text = _ESCAPE.sub(_character, text)
    return text.encode("latin-1", "replace")


def _character(match: re.Match[str]) -> str:
    if match[1] or match[2]:
        return chr(int(match[1], 16) if match[1] else int(match[2], 8) & 0xFF)
    return _LETTERS.get(match[3], match[3])


def _decorated_path(text: str) -> bytes | None:
    """Return the path in what -y shows; None for a socket or a pipe, or a file that is deleted."""
    path = unescaped(re.sub(r"<[^<>]*>$", "", text))
    return None if not path.startswith(b"/") or path.endswith(b" (deleted)") else path


def _fraction_ns(digits: str | None) -> int:
    return int((digits or "").ljust(9, "0"))
