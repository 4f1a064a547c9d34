"""The output of `strace -f` as the recording of a start (docs/profiles.md).

What counts as read:
- what a call returned from a file: read, pread64, readv, preadv, sendfile, copy_file_range, splice;
- the part of a file that was mapped, since nothing tells which pages were touched;
- each program that was executed, whole;
- if no call in the trace reads, each file that was opened, whole.
"""

from __future__ import annotations

from soci.errors import InvalidRequest
from soci.start.recording import Clock, Recording
from soci.start.strace_calls import CallEffects
from soci.start.strace_line import Prefix, parse_call, parse_name, parse_prefix, parse_resumed, unfinished
from soci.start.strace_processes import Process, Processes

_FORKS = {"fork", "vfork", "clone", "clone3"}
_DAY_NS = 86_400 * 10**9
_MAX_BEGUN_CHARACTERS = 64 << 20
_MAX_HEAD_CHARACTERS = 64 << 10
_ATTACHED = "strace: Process "


class StraceOutput:
    """Reads the output of strace line by line. Lines of anything but calls are counted and passed over."""

    def __init__(self) -> None:
        self._processes = Processes()
        self._effects = CallEffects(self._processes)
        self._followed = self._effects.names | _FORKS
        self._time = _TraceTime()
        self._begun_characters = 0
        self._cut: str | None = None
        self._lines = self._calls = 0
        self._unreadable = self._first_unreadable = 0

    def feed(self, line: bytes) -> None:
        """Read the next line."""
        self._lines += 1
        text = line.decode("latin-1").rstrip("\r")
        if self._cut is not None:
            text, self._cut = self._cut + text, None
        if _ATTACHED in text:
            text = self._without_announcement(text)
            if text:
                self._cut = text
                return
        prefix, rest = parse_prefix(text)
        pid = self._processes.number_of(prefix.pid)
        if (name := parse_name(rest)) is not None:
            self._calls += 1
            at_ns = self._time.at(prefix)
            if name[0] in self._followed:
                self._begin(pid, name[0], name[1], at_ns)
        elif (resumed := parse_resumed(rest)) is not None:
            self._calls += 1
            self._time.at(prefix)
            if resumed[0] in self._followed:
                self._resume(pid, *resumed)
        elif rest.startswith(("+++ ", "--- ")):
            self._calls += 1
            self._time.at(prefix)
            self._end(pid, rest)

    def finish(self) -> Recording:
        """Return what the trace holds."""
        effects = self._effects
        reads = effects.reads
        notes = []
        if effects.opened is not None and len(effects.opened):
            notes.append("the trace holds no reads, so each file that was opened counts as read whole")
            reads = effects.opened
        if effects.cut_paths:
            notes.append(f"paths that strace cut short, left out: {effects.cut_paths}; record with -s 4096")
        if effects.unknown_directories:
            notes.append(
                f"relative paths in a directory that the trace does not tell, left out: {effects.unknown_directories}; "
                "record with -y"
            )
        if self._unreadable:
            notes.append(
                f"calls that cannot be read: {self._unreadable}, the first in line {self._first_unreadable}"
            )
        if len(reads) and not self._time.is_timed:
            notes.append("the trace has no times, so only the order of the files is known; record with -ttt")
        return Recording(
            reads=reads,
            program=effects.program,
            executed=effects.executed,
            lines=self._lines,
            other_lines=self._lines - self._calls,
            notes=tuple(notes),
        )

    def _without_announcement(self, text: str) -> str:
        """Note a process that strace has attached to. strace may write that into the line of the fork."""
        before, _, behind = text.partition(_ATTACHED)
        number = behind.partition(" ")[0]
        if number.isascii() and number.isdigit() and len(number) < 11:
            self._processes.announce(int(number))
        return before

    def _begin(self, pid: int | None, name: str, text: str, at_ns: int | None) -> None:
        head = unfinished(text)
        if head is None:
            self._call(pid, name, text, at_ns)
            return
        process = self._processes.get(pid)
        if name in _FORKS:
            self._processes.begin_fork(pid, head[:_MAX_HEAD_CHARACTERS])
        self._take_begun(process)
        if len(head) > _MAX_HEAD_CHARACTERS:
            self._refuse()
            return
        process.begun = name, head, at_ns
        self._begun_characters += len(head)
        if self._begun_characters > _MAX_BEGUN_CHARACTERS:
            raise InvalidRequest(f"line {self._lines}: too many calls are unfinished at once")

    def _resume(self, pid: int | None, name: str, rest: str) -> None:
        begun = self._take_begun(self._processes.get(pid))
        if begun is None or begun[0] != name:
            self._refuse()
        else:
            self._call(pid, name, begun[1] + rest, begun[2])

    def _take_begun(self, process: Process) -> tuple[str, str, int | None] | None:
        begun, process.begun = process.begun, None
        self._begun_characters -= len(begun[1]) if begun else 0
        return begun

    def _end(self, pid: int | None, text: str) -> None:
        """Note the end of a process, or that its exec goes on under the number of another."""
        if "superseded by execve in pid " in text:
            number = text.partition("in pid ")[2].partition(" ")[0]
            if number.isascii() and number.isdigit() and len(number) < 11:
                process, thread = self._processes.get(pid), self._processes.get(int(number))
                self._take_begun(process)
                process.begun, thread.begun = thread.begun, None
        elif text.startswith("+++ "):
            self._take_begun(self._processes.get(pid))
            self._processes.end(pid)

    def _call(self, pid: int | None, name: str, text: str, at_ns: int | None) -> None:
        call = parse_call(text)
        if call is None:
            self._refuse()
            return
        if name in _FORKS:
            self._processes.end_fork(pid, call.result, text)
        elif call.result is not None and call.result >= 0:
            process = self._processes.get(pid)
            try:
                self._effects.apply(process, name, call, at_ns)
            except (IndexError, ValueError):
                self._refuse()

    def _refuse(self) -> None:
        self._unreadable += 1
        self._first_unreadable = self._first_unreadable or self._lines


def is_call(line: bytes) -> bool:
    """Tell whether a line shows a call as strace does, finished or not."""
    _, rest = parse_prefix(line.decode("latin-1"))
    if parse_resumed(rest) is not None:
        return True
    return parse_name(rest) is not None and (" = " in rest or unfinished(rest) is not None)


class _TraceTime:
    """The time of each line: strace shows a time of day, one since 1970, or the distance to the line before."""

    def __init__(self) -> None:
        self._clock = Clock()
        self._ns = 0
        self._days_ns = 0
        self.is_timed = False

    def at(self, prefix: Prefix) -> int | None:
        """Return the time of a line, None if lines have none."""
        ns = prefix.epoch_ns
        if prefix.clock_ns is not None:
            if prefix.clock_ns + self._days_ns < self._ns - _DAY_NS // 2:
                self._days_ns += _DAY_NS  # midnight
            ns = prefix.clock_ns + self._days_ns
        elif prefix.after_ns is not None:
            ns = self._ns + prefix.after_ns
        if ns is not None:
            self._ns = ns
            self.is_timed = True
        return self._clock.at(ns)
