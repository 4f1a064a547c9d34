"""What the calls of a trace do: open, read, map, execute. One call after the other, in the order in which they end."""

from __future__ import annotations

import re
from collections.abc import Callable

from soci.start.gathered import GatheredReads, are_of_the_machine, is_path, joined_path
from soci.start.strace_line import Call, Opened, parse_descriptor, parse_number, parse_string
from soci.start.strace_processes import OpenFile, Process, Processes

_MAX_EXECUTED = 100
_MAX_UNPLACED = 4
_SIZE = re.compile(r"\bstx?_size=(\d{1,18})\b", re.ASCII)
_Handler = Callable[[Process, Call, int | None], None]


class CallEffects:
    """What the calls have read so far."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self.reads = GatheredReads()
        self.opened: GatheredReads | None = GatheredReads()
        """What was opened; None once a call has read."""
        self.executed: dict[bytes, int | None] = {}
        """The programs that were executed, with the time; of many the first."""
        self._first_program: tuple[int, bytes | None] | None = None
        """When it was executed, and its path if the trace has told that by now."""
        self.cut_paths = 0
        """Paths that strace has cut short."""
        self.unknown_directories = 0
        """Paths that begin in a directory which the trace does not tell."""
        self._handlers: dict[str, _Handler] = {
            "open": self._open_here,
            "creat": self._create,
            "openat": self._open_at,
            "openat2": self._open_at,
            "execve": self._execute,
            "execveat": self._execute_at,
            **dict.fromkeys(("read", "readv"), self._read),
            **dict.fromkeys(("pread64", "pread", "preadv", "preadv2"), self._read_at),
            **dict.fromkeys(("sendfile", "sendfile64"), self._send),
            **dict.fromkeys(("copy_file_range", "splice"), self._copy),
            **dict.fromkeys(("mmap", "mmap2"), self._map),
            **dict.fromkeys(("lseek", "_llseek"), self._seek),
            "close": self._close,
            **dict.fromkeys(("dup", "dup2", "dup3"), self._duplicate),
            **dict.fromkeys(("fcntl", "fcntl64"), self._control),
            "getcwd": self._tell_directory,
            "chdir": self._change_directory,
            "fchdir": self._change_to_open,
            **dict.fromkeys(("fstat", "fstat64", "newfstatat", "fstatat64", "statx"), self._measure),
        }
        self.names = frozenset(self._handlers)
        """The calls that are followed."""

    @property
    def program(self) -> bytes | None:
        """The first program that was executed; None if its path is unknown."""
        return self._first_program[1] if self._first_program else None

    def apply(self, process: Process, name: str, call: Call, at_ns: int | None) -> None:
        """Follow a call that succeeded. Raises IndexError or ValueError if its arguments are not those of the call."""
        self._handlers[name](process, call, at_ns)

    def _open_here(self, process: Process, call: Call, at_ns: int | None) -> None:
        self._open(process, call, at_ns, ("AT_FDCWD", *call.arguments))

    def _open_at(self, process: Process, call: Call, at_ns: int | None) -> None:
        self._open(process, call, at_ns, call.arguments)

    def _create(self, process: Process, call: Call, _: int | None) -> None:
        self._processes.open(process, call.result or 0, OpenFile(path=None))

    def _open(self, process: Process, call: Call, at_ns: int | None, arguments: tuple[str, ...]) -> None:
        flags = arguments[2]
        directory = _opened(arguments[0])
        if directory.number is None and directory.path:
            self._place(process, directory.path)
        path = call.result_path or self._path(process, arguments)
        is_written = any(flag in flags for flag in ("O_WRONLY", "O_TRUNC", "O_EXCL"))
        self._processes.open(process, call.result or 0, OpenFile(path=None if is_written else path))
        is_file = not is_written and "O_PATH" not in flags and "O_DIRECTORY" not in flags
        if self.opened is not None and is_file and path is not None and _is_of_image(path):
            self.opened.add_whole(path, at_ns)

    def _execute(self, process: Process, call: Call, at_ns: int | None) -> None:
        path = parse_string(call.arguments[0])
        is_relative = path is not None and not path[0].startswith(b"/")
        if path and is_relative and process.directory[0] is None and len(process.unplaced) < _MAX_UNPLACED:
            process.unplaced.append((path[0][:4096], at_ns))  # usually the first call: the next ones tell
            self.unknown_directories += 1
            self._note_program(None, at_ns)
        else:
            self._executed(self._path(process, ("AT_FDCWD", call.arguments[0])), at_ns)

    def _execute_at(self, process: Process, call: Call, at_ns: int | None) -> None:
        self._executed(self._path(process, call.arguments[:2]), at_ns)

    def _executed(self, path: bytes | None, at_ns: int | None) -> None:
        if path is None or not _is_of_image(path):
            return
        self._note_program(path, at_ns)
        if len(self.executed) < _MAX_EXECUTED:
            self.executed.setdefault(path, at_ns)
        self.reads.add_whole(path, at_ns)
        if self.opened is not None:
            self.opened.add_whole(path, at_ns)

    def _note_program(self, path: bytes | None, at_ns: int | None) -> None:
        first = self._first_program
        if first is None or (at_ns or 0) < first[0] or ((at_ns or 0) == first[0] and first[1] is None):
            self._first_program = at_ns or 0, path

    def _place(self, process: Process, directory: bytes) -> None:
        """Note the working directory that a process has been in so far."""
        if process.directory[0] is None:
            process.directory[0] = directory
            for path, at_ns in process.unplaced:
                self.unknown_directories -= 1
                self._executed(_checked(joined_path(directory, path)), at_ns)
            process.unplaced.clear()

    def _tell_directory(self, process: Process, call: Call, _: int | None) -> None:
        found = parse_string(call.arguments[0])
        if found is not None and found[0].startswith(b"/") and not found[1]:
            self._place(process, found[0])

    def _read(self, process: Process, call: Call, at_ns: int | None) -> None:
        self._read_some(process, call.arguments[0], None, call.result or 0, at_ns)

    def _read_at(self, process: Process, call: Call, at_ns: int | None) -> None:
        self._read_some(process, call.arguments[0], _number(call.arguments[3]), call.result or 0, at_ns)

    def _send(self, process: Process, call: Call, at_ns: int | None) -> None:
        self._read_some(process, call.arguments[1], _offset(call.arguments[2]), call.result or 0, at_ns)

    def _copy(self, process: Process, call: Call, at_ns: int | None) -> None:
        self._read_some(process, call.arguments[0], _offset(call.arguments[1]), call.result or 0, at_ns)

    def _map(self, process: Process, call: Call, at_ns: int | None) -> None:
        descriptor = call.arguments[4]
        if descriptor.startswith("-") or "PROT_NONE" in call.arguments[2]:
            return
        self._read_some(process, descriptor, _number(call.arguments[5]), _number(call.arguments[1]), at_ns)

    def _read_some(
        self, process: Process, descriptor: str, offset: int | None, size_bytes: int, at_ns: int | None
    ) -> None:
        file = self._file(process, _opened(descriptor))
        begin = file.position if offset is None else offset
        if offset is None:
            file.position += size_bytes
        if file.path is None or not _is_of_image(file.path):
            return
        self.opened = None
        self.reads.add(file.path, at_ns, begin, begin + size_bytes)

    def _seek(self, process: Process, call: Call, _: int | None) -> None:
        file = self._file(process, _opened(call.arguments[0]))
        file.position = _number(call.arguments[2]) if call.arguments[2].startswith("[") else call.result or 0

    def _close(self, process: Process, call: Call, _: int | None) -> None:
        process.files.pop(_opened(call.arguments[0]).number or 0, None)

    def _duplicate(self, process: Process, call: Call, _: int | None) -> None:
        self._processes.open(process, call.result or 0, self._file(process, _opened(call.arguments[0])))

    def _control(self, process: Process, call: Call, at_ns: int | None) -> None:
        if call.arguments[1].startswith("F_DUPFD"):
            self._duplicate(process, call, at_ns)

    def _change_directory(self, process: Process, call: Call, _: int | None) -> None:
        process.directory[0] = self._path(process, ("AT_FDCWD", call.arguments[0]))

    def _change_to_open(self, process: Process, call: Call, _: int | None) -> None:
        process.directory[0] = self._file(process, _opened(call.arguments[0])).path

    def _measure(self, process: Process, call: Call, _: int | None) -> None:
        """Note a size: of an open file, which the empty path of newfstatat and statx names, too."""
        text = ", ".join(call.arguments)
        if call.arguments[1].startswith('"') and not call.arguments[1].startswith('""'):
            return
        file = self._file(process, _opened(call.arguments[0]))
        size = _SIZE.search(text)
        if size and "S_IFREG" in text and file.path is not None and _is_of_image(file.path):
            self.reads.set_size(file.path, int(size[1]))

    def _file(self, process: Process, opened: Opened) -> OpenFile:
        """Return an open file. What -y shows counts more than what was seen before."""
        if opened.number is None:
            raise ValueError("a directory where an open file is wanted")
        file = process.files.get(opened.number)
        if file is None or (opened.path is not None and file.path not in (None, opened.path)):
            file = OpenFile(path=opened.path or None)
            self._processes.open(process, opened.number, file)
        return file

    def _path(self, process: Process, arguments: tuple[str, ...]) -> bytes | None:
        """Return the path of two arguments, a directory and a path in it; None if it is unknown."""
        string = parse_string(arguments[1])
        if string is None:
            raise ValueError(arguments[1])
        path, is_cut = string
        if is_cut:
            self.cut_paths += 1
            return None
        directory = _opened(arguments[0])
        if directory.number is None and directory.path:
            self._place(process, directory.path)
        if path.startswith(b"/"):
            return _checked(joined_path(b"/", path))
        base = directory.path
        if base is None:
            base = process.directory[0] if directory.number is None else self._file(process, directory).path
        if not base:
            self.unknown_directories += 1
            return None
        return _checked(joined_path(base, path))


def _opened(text: str) -> Opened:
    opened = parse_descriptor(text)
    if opened is None:
        raise ValueError(text)
    return opened


def _number(text: str) -> int:
    number = parse_number(text)
    if number is None:
        raise ValueError(text)
    return number


def _offset(text: str) -> int | None:
    """Read an offset that a call is given a pointer to: `[0] => [4096]`, or NULL."""
    return None if text == "NULL" else _number(text.partition(" ")[0])


def _checked(path: bytes) -> bytes | None:
    return path if is_path(path) else None


def _is_of_image(path: bytes) -> bool:
    return is_path(path) and not are_of_the_machine(path)
