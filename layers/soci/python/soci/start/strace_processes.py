"""The processes of a trace: what each has open and where it is, from one call to the next."""

from __future__ import annotations

from dataclasses import dataclass, field

from soci.errors import InvalidRequest

MAX_OPEN_FILES = 2_000_000
"""Of all processes together. A trace with more is none of a start."""

MAX_PROCESSES = 100_000


@dataclass(slots=True)
class OpenFile:
    """An open file as the kernel has it: duplicates of a descriptor share the position."""

    path: bytes | None
    """None for what is no file of the image: a socket, a pipe, a file that was written."""
    position: int = 0


@dataclass(slots=True)
class Process:
    """A process. Threads are processes that share both tables."""

    files: dict[int, OpenFile] = field(default_factory=dict)
    directory: list[bytes | None] = field(default_factory=lambda: [None])
    """One element: the working directory, None until the trace tells it."""
    unplaced: list[tuple[bytes, int | None]] = field(default_factory=list)
    """Programs that were executed by a path below a working directory that is not known yet, with the time."""
    begun: tuple[str, str, int | None] | None = None
    """A call that is not finished: its name, the text behind its parenthesis, the time."""


class Processes:
    """All processes of a trace by number; None is the one that strace shows without a number."""

    def __init__(self) -> None:
        self._processes: dict[int | None, Process] = {}
        self._forking: dict[int | None, str] = {}
        self._announced: set[int] = set()
        self._open_files = 0

    def number_of(self, shown: int | None) -> int | None:
        """Return the number of a process as strace shows it: none while it is the only one that is traced."""
        if shown is None:
            return shown if None in self._processes else next(iter(self._processes), None)
        if shown not in self._processes and None in self._processes and shown not in self._announced:
            self._processes[shown] = self._processes.pop(None)
            if None in self._forking:
                self._forking[shown] = self._forking.pop(None)
        return shown

    def get(self, pid: int | None) -> Process:
        """Return a process. A new number is a child of the process that is about to fork."""
        process = self._processes.get(pid)
        if process is None:
            parent = next(reversed(self._forking), None) if self._forking else pid
            process = Process() if parent == pid else self._child(self.get(parent), self._forking[parent])
            self._add(pid, process)
        return process

    def announce(self, pid: int) -> None:
        """Note that strace has attached to a new process."""
        if len(self._announced) < MAX_PROCESSES:
            self._announced.add(pid)

    def begin_fork(self, pid: int | None, arguments: str) -> None:
        """Note that a process forks and that its child may show up before the call ends."""
        self._forking[pid] = arguments

    def end_fork(self, pid: int | None, child: int | None, arguments: str) -> None:
        """Note that a fork has ended."""
        self._forking.pop(pid, None)
        if child is not None and child > 0 and child not in self._processes:
            self._add(child, self._child(self.get(pid), arguments))

    def end(self, pid: int | None) -> None:
        """Forget a process."""
        self._processes.pop(pid, None)
        self._forking.pop(pid, None)

    def open(self, process: Process, number: int, file: OpenFile) -> None:
        """Note that a descriptor leads to a file."""
        if number not in process.files:
            self._count(1)
        process.files[number] = file

    def _add(self, pid: int | None, process: Process) -> None:
        self._processes[pid] = process
        if len(self._processes) > MAX_PROCESSES:
            raise InvalidRequest(
                f"more than {MAX_PROCESSES} processes: is this the start of one container alone?"
            )

    def _child(self, parent: Process, arguments: str) -> Process:
        shares_files, shares_directory = "CLONE_FILES" in arguments, "CLONE_FS" in arguments
        if not shares_files:
            self._count(len(parent.files))
        return Process(
            files=parent.files if shares_files else dict(parent.files),
            directory=parent.directory if shares_directory else list(parent.directory),
        )

    def _count(self, number: int) -> None:
        """Count files that are about to be opened. Those that were closed are taken off when the limit is met."""
        self._open_files += number
        if self._open_files > MAX_OPEN_FILES:
            tables = {id(process.files): len(process.files) for process in self._processes.values()}
            self._open_files = sum(tables.values()) + number
            if self._open_files > MAX_OPEN_FILES // 2:
                raise InvalidRequest(
                    f"more than {MAX_OPEN_FILES // 2} open files at once: is this the start of one container alone?"
                )
