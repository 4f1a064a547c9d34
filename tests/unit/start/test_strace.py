"""The output of strace: crafted, and of real programs."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from soci.errors import InvalidRequest
from soci.start import strace, strace_processes
from soci.start.import_recording import make_start_profile
from soci.start.profile import FileRead, StartProfile
from soci.start.recording import Recording
from soci.start.strace import StraceOutput, is_call


def recorded(*lines: str) -> Recording:
    trace = StraceOutput()
    for line in lines:
        trace.feed(line.encode())
    return trace.finish()


def profile_of(*lines: str) -> StartProfile:
    return make_start_profile(recorded(*lines)).profile


def reads_of(*lines: str) -> dict[str, list[tuple[int, int]] | None]:
    """The ranges of each file, sorted; None for a file that is whole."""
    return {one.path.decode(): _ranges(one) for one in profile_of(*lines).files}


def _ranges(file: FileRead) -> list[tuple[int, int]] | None:
    return sorted((one.start, one.end) for one in file.ranges) or None


PREFIXES = {
    "-f -o": ("7     ", "7     ", 0),
    "-f": ("", "[pid     8] ", 0),
    "-ttt": ("7  1724162602.000000 ", "7  1724162602.250000 ", 250),
    "-tt": ("7  23:59:59.900000 ", "7  00:00:00.150000 ", 250),
    "-t": ("7  10:00:00 ", "7  10:00:01 ", 1000),
    "-r": ("7          0.000000 ", "7          0.250000 ", 750),
    "-r alone": ("     0.000000 ", "     0.250000 ", 750),
    "-r -t": ("[pid 7] 10:00:00 (+     0.000000) ", "[pid 7] 10:00:01 (+     0.250000) ", 1000),
    "-n -i": (
        "7  1724162602.0 [ 257] [00007f0000001000] ",
        "7  1724162602.25 [   3] [????????????????] ",
        250,
    ),
    "aws logs tail": (
        "2026-08-20T14:03:22.123000+00:00 start/app/0f1e [pid 7] 1724162602.000000 ",
        "2026-08-20T14:03:22.373000+00:00 start/app/0f1e [pid 7] 1724162602.250000 ",
        250,
    ),
    "aws logs tail --format short": ("2026-08-20T14:03:22 10:00:00 ", "2026-08-20T14:03:22 10:00:01 ", 1000),
    "a container runtime": (
        "2026-08-20T14:03:22.123Z stderr F 1724162602.0 ",
        "2026-08-20T14:03:22.123Z stderr F 1724162602.25 ",
        250,
    ),
    "-Y": ("7<cat> 1724162602.000000 ", "7<cat> 1724162602.250000 ", 250),
}


@pytest.mark.parametrize("form", PREFIXES)
def test_each_form_of_a_line_is_read(form: str) -> None:
    first, second, ms = PREFIXES[form]

    profile = profile_of(
        f'{first}openat(AT_FDCWD, "/a", O_RDONLY) = 3',
        f'{first}read(3, "x", 10) = 10',
        f"{second}close(3)                                = 0",
        f'{second}openat(AT_FDCWD, "/b", O_RDONLY|O_CLOEXEC) = 3',
        f'{second}read(3, "x"..., 10) = 4 <0.000012>',
    )

    assert [(one.path, _ranges(one)) for one in profile.files] == [(b"/a", [(0, 10)]), (b"/b", [(0, 4)])]
    if ms:
        assert profile.files[1].first_ms == ms


OPENED = 'openat(AT_FDCWD, "/a", O_RDONLY) = 3'


@pytest.mark.parametrize(
    ("lines", "ranges"),
    [
        (['read(3, "..."..., 4) = 4', 'read(3, "", 4) = 2'], [(0, 6)]),
        (['pread64(3, "", 64, 100) = 50'], [(100, 150)]),
        (['preadv(3, [{iov_base="a, b) = 7", iov_len=9}], 1, 100) = 9'], [(100, 109)]),
        (['readv(3, [{iov_base="x", iov_len=1}, {iov_base="y", iov_len=1}], 2) = 2'], [(0, 2)]),
        (["lseek(3, 40, SEEK_SET) = 40", 'read(3, "", 4) = 4'], [(40, 44)]),
        (["_llseek(3, 40, [40], SEEK_SET) = 0", 'read(3, "", 4) = 4'], [(40, 44)]),
        (["mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, 3, 0x1000) = 0x7f0000000000"], [(4096, 12288)]),
        (["mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE, 3, 0) = 0x7f0000000000"], []),
        (["mmap(NULL, 8192, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f0000000000"], []),
        (["sendfile(1, 3, NULL, 100) = 60"], [(0, 60)]),
        (["sendfile(1, 3, [10] => [70], 100) = 60"], [(10, 70)]),
        (["copy_file_range(3, [10] => [15], 4, NULL, 9, 0) = 5"], [(10, 15)]),
        (["splice(3, NULL, 5, NULL, 9, 0) = 5"], [(0, 5)]),
        (
            ["dup(3) = 9", "close(3) = 0", 'read(9, "", 4) = 4', "dup2(9, 20) = 20", 'read(20, "", 4) = 4'],
            [(0, 8)],
        ),
        (["fcntl(3, F_DUPFD_CLOEXEC, 10) = 10", 'read(10, "", 4) = 4'], [(0, 4)]),
        (["close(3) = 0", 'read(3, "", 4) = 4'], []),
        (['read(3, "", 4) = 0'], []),
        (["read(3, 0x7f00, 4) = -1 EAGAIN (Resource temporarily unavailable)"], []),
        (["read(3, 0x7f00, 4) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)"], []),
        (
            [
                "fstat(3, {st_mode=S_IFREG|0644, st_size=10, ...}) = 0",
                "mmap(NULL, 4096, PROT_READ, MAP_SHARED, 3, 0) = 0x7f",
            ],
            [(0, 10)],
        ),
    ],
    ids=lambda value: value[0].partition("(")[0] if value and isinstance(value[0], str) else "",
)
def test_a_call_reads_what_it_returns(lines: list[str], ranges: list[tuple[int, int]]) -> None:
    found = reads_of(OPENED, *lines, 'openat(AT_FDCWD, "/z", O_RDONLY) = 8', 'read(8, "", 1) = 1')

    assert found.get("/a", []) == ranges
    assert found["/z"] == [(0, 1)]


def test_what_is_no_file_of_an_image_is_left_out() -> None:
    found = reads_of(
        'openat(AT_FDCWD, "/proc/self/maps", O_RDONLY) = 3',
        'read(3, "", 9) = 9',
        'openat(AT_FDCWD, "/dev/urandom", O_RDONLY) = 4</dev/urandom<char 1:9>>',
        'read(4</dev/urandom<char 1:9>>, "", 9) = 9',
        "socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = 5<TCP:[4711]>",
        'read(5<TCP:[127.0.0.1:80->127.0.0.1:4711]>, "", 9) = 9',
        'read(6<pipe:[4711]>, "", 9) = 9',
        'read(7<UNIX-STREAM:[1->2, "/run/x"]>, "", 9) = 9',
        'openat(AT_FDCWD, "/tmp/new", O_RDWR|O_CREAT|O_TRUNC, 0600) = 8',
        'read(8, "", 9) = 9',
        'read(9</tmp/gone (deleted)>, "", 9) = 9',
        'read(10</tmp/gone>(deleted), "", 9) = 9',
        'openat(AT_FDCWD, "/no", O_RDONLY) = -1 ENOENT (No such file or directory)',
        'openat(AT_FDCWD, "/a", O_RDONLY) = 11',
        'read(11, "", 9) = 9',
    )

    assert found == {"/a": [(0, 9)]}


def test_paths_are_those_of_the_process() -> None:
    found = reads_of(
        '1 chdir("/srv") = 0',
        '1 openat(AT_FDCWD, "app/../lib/./x", O_RDONLY) = 3',
        '1 read(3, "", 1) = 1',
        '1 openat(AT_FDCWD, "/etc", O_RDONLY|O_DIRECTORY) = 4',
        '1 openat(4, "passwd", O_RDONLY) = 5',
        '1 read(5, "", 1) = 1',
        "1 fchdir(4) = 0",
        '1 open("hosts", O_RDONLY) = 6',
        '1 read(6, "", 1) = 1',
        '1 openat(AT_FDCWD</var>, "y", O_RDONLY) = 7',
        '1 read(7, "", 1) = 1',
        '1 openat(12</opt>, "z", O_RDONLY) = 8',
        '1 read(8, "", 1) = 1',
    )

    assert set(found) == {"/srv/lib/x", "/etc/passwd", "/etc/hosts", "/var/y", "/opt/z"}


def test_what_y_shows_is_the_path() -> None:
    found = reads_of(
        'openat(AT_FDCWD</>, "/lib/libc.so.6", O_RDONLY) = 3</usr/lib/libc.so.6>',
        'read(3</usr/lib/libc.so.6>, "", 5) = 5',
        'read(9</opened/before>, "", 5) = 5',
        r'read(4</odd \74name\76, with ) = 7>, "", 5) = 5',
        r'openat(AT_FDCWD</>, "x) = 5\"\303\244", O_RDONLY) = 5</x) = 5"\303\244>',
        r'read(5</x) = 5"\303\244>, "", 5) = 5',
    )

    assert set(found) == {"/usr/lib/libc.so.6", "/opened/before", "/odd <name>, with ) = 7", '/x) = 5"ä'}


def test_escapes_of_strings_are_undone() -> None:
    found = profile_of(
        *(
            line
            for number, name in enumerate([r"/a\tb", r"/\303\244", r"/\x41\x0a", r"/\"q\\", r"/1\0012"])
            for line in (f'openat(AT_FDCWD, "{name}", O_RDONLY) = {number}', f'read({number}, "", 1) = 1')
        )
    )

    assert {one.path for one in found.files} == {b"/a\tb", "/ä".encode(), b"/A\n", b'/"q\\', b"/1\x012"}


def test_children_have_the_files_of_their_parents() -> None:
    found = reads_of(
        '1 openat(AT_FDCWD, "/a", O_RDONLY) = 3',
        "1 fork() = 2",
        '2 read(3, "", 5) = 5',
        '1 read(3, "", 5) = 5',
        "2 close(3) = 0",
        '2 openat(AT_FDCWD, "/b", O_RDONLY) = 3',
        '1 read(3, "", 5) = 5',
        "1 clone(child_stack=0x7f, flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_THREAD, tls=0x7f) = 3",
        '3 openat(AT_FDCWD, "/c", O_RDONLY) = 4',
        '1 read(4, "", 5) = 5',
        '2 read(4, "", 5) = 5',
    )

    # A position is shared by parent and child; descriptors only between threads.
    assert found == {"/a": [(0, 15)], "/c": [(0, 5)]}


def test_a_child_that_runs_before_its_fork_returns_has_its_parent() -> None:
    found = reads_of(
        '1 openat(AT_FDCWD, "/a", O_RDONLY) = 3',
        "1 clone3({flags=CLONE_FS|CLONE_FILES, exit_signal=0}, 88 <unfinished ...>",
        "2 read(3,  <unfinished ...>",
        "1 <... clone3 resumed> => {parent_tid=[2]}, 88) = 2",
        '2 <... read resumed>"x", 5) = 5',
        "2 +++ exited with 0 +++",
        '1 read(3, "", 5) = 5',
    )

    assert found == {"/a": [(0, 10)]}


def test_the_first_process_gets_its_number_when_there_are_several() -> None:
    found = reads_of(
        'openat(AT_FDCWD, "/a", O_RDONLY) = 3',
        "vfork(strace: Process 12 attached",
        " <unfinished ...>",
        '[pid    12] read(3, "", 5) = 5',
        "[pid    11] <... vfork resumed>)        = 12",
        '[pid    11] read(3, "", 5) = 5',
        "[pid    11] clone(child_stack=NULL, flags=SIGCHLDstrace: Process 13 attached",
        ", child_tidptr=0x7f) = 13",
        '[pid    13] read(3, "", 5) = 5',
    )

    assert found == {"/a": [(0, 15)]}


def test_the_last_process_has_no_number_again() -> None:
    found = reads_of(
        '1724162602.0 openat(AT_FDCWD, "/a", O_RDONLY) = 3',
        "1724162602.1 vfork(strace: Process 12 attached",
        " <unfinished ...>",
        '[pid    12] 1724162602.2 openat(AT_FDCWD, "/b", O_RDONLY) = 4',
        "[pid    11] 1724162602.3 <... vfork resumed>) = 12",
        "[pid    11] 1724162602.4 pread64(3,  <unfinished ...>",
        "[pid    12] 1724162602.5 +++ exited with 0 +++",
        '1724162602.6 <... pread64 resumed>"", 7, 100) = 7',
        '1724162602.7 read(3, "", 5) = 5',
        '1724162602.8 read(4, "", 5) = 5',
    )

    assert found == {"/a": [(0, 5), (100, 107)]}


def test_an_exec_from_a_thread_goes_on_under_the_number_of_the_process() -> None:
    profile = profile_of(
        '2 execve("/bin/b", ["b"], 0x7f /* 3 vars */ <unfinished ...>',
        "1 +++ superseded by execve in pid 2 +++",
        "1 <... execve resumed>)        = 0",
    )

    assert [one.path for one in profile.files] == [b"/bin/b"]


def test_a_call_that_strace_left_is_no_error() -> None:
    recording = recorded("1 read(3,  <detached ...>", OPENED, 'read(3, "", 4) = 4')

    assert not [note for note in recording.notes if "cannot be read" in note]


def test_programs_are_read_whole_and_the_first_is_the_program() -> None:
    profile = profile_of(
        '1 1724162602.0 execve("./run", ["./run", "--password=secret"], ["TOKEN=secret"]) = 0',
        "1 1724162602.1 brk(NULL) = 0x55",
        '1 1724162602.2 getcwd("/srv", 4096) = 5',
        '1 1724162602.3 execve("/bin/none", ["none"], 0x7f) = -1 ENOENT (No such file or directory)',
        '1 1724162602.4 execve("/bin/sh", ["sh"], 0x7f) = 0',
    )

    assert profile.program == b"/srv/run"
    assert [(one.path, one.first_ms, one.ranges) for one in profile.files] == [
        (b"/srv/run", 0, ()),
        (b"/bin/sh", 400, ()),
    ]


def test_a_trace_without_reads_gives_the_files_that_were_opened() -> None:
    recording = recorded(
        '1 execve("/bin/sh", ["sh"], 0x7f) = 0',
        '1 openat(AT_FDCWD, "/a", O_RDONLY) = 3',
        '1 openat(AT_FDCWD, "/d", O_RDONLY|O_DIRECTORY) = 3',
        '1 openat(AT_FDCWD, "/w", O_WRONLY) = 3',
    )

    assert {one.path for one in make_start_profile(recording).profile.files} == {b"/bin/sh", b"/a"}
    assert recording.notes[0] == "the trace holds no reads, so each file that was opened counts as read whole"


def test_what_cannot_be_used_is_counted_with_what_to_do() -> None:
    recording = recorded(
        '1 openat(AT_FDCWD, "/very/long"..., O_RDONLY) = 3',
        '1 openat(AT_FDCWD, "relative", O_RDONLY) = 4',
        '1 read(4, "", 1) = 1',
        '1 openat(AT_FDCWD, "/a", O_RDONLY',
        "1 read(x) = 5",
        '1 openat(AT_FDCWD, "/a", O_RDONLY) = 3',
        '1 read(3, "", 1) = 1',
        "the program's own output",
    )

    assert (recording.lines, recording.other_lines) == (8, 1)
    assert recording.notes == (
        "paths that strace cut short, left out: 1; record with -s 4096",
        "relative paths in a directory that the trace does not tell, left out: 1; record with -y",
        "calls that cannot be read: 2, the first in line 4",
        "the trace has no times, so only the order of the files is known; record with -ttt",
    )


def test_many_small_reads_at_random_stay_few_ranges() -> None:
    random_ = random.Random(1)  # noqa: S311 - the same each time
    lines = [f'pread64(3, "", 100, {random_.randrange(1 << 30)}) = 100' for _ in range(20_000)]

    (file,) = profile_of(OPENED, *lines).files

    assert len(file.ranges) <= 1024
    assert sum(one.end - one.start for one in file.ranges) >= 20_000 * 90


@pytest.mark.parametrize(
    ("limit", "module", "lines"),
    [
        ("MAX_PROCESSES", strace_processes, [f"{number} getpid() = 1" for number in range(1, 9)]),
        ("MAX_OPEN_FILES", strace_processes, [f'1 open("/a", O_RDONLY) = {number}' for number in range(9)]),
        (
            "_MAX_BEGUN_CHARACTERS",
            strace,
            [f'{number} open("/a <unfinished ...>' for number in range(1, 9)],
        ),
    ],
    ids=["processes", "open files", "unfinished calls"],
)
def test_a_hostile_trace_meets_a_limit(
    monkeypatch: pytest.MonkeyPatch, limit: str, module: object, lines: list[str]
) -> None:
    monkeypatch.setattr(module, limit, 4)
    calls = [line.replace("getpid()", 'chdir("/")') for line in lines]

    with pytest.raises(InvalidRequest, match=r"more than [24]|too many"):
        recorded(*calls)


HOSTILE = {
    "quotes": "1 open(" + '\\"' * 250_000,
    "brackets": "1 open(" + "\\\\<" * 250_000,
    "comments": "1 open(" + "/*" * 250_000,
    "spaces": "1 open(" + " " * 500_000 + "...>",
    "calls": "a(" * 250_000,
    "parentheses": "1 open(" + "(" * 500_000,
    "numbers": "1" * 500_000,
    "spaces in front": "1" + " " * 500_000,
    "a long result": "1 open(1) = " + "9" * 500_000,
}


@pytest.mark.parametrize("line", HOSTILE)
def test_a_hostile_line_takes_no_more_time_than_a_long_one(line: str) -> None:
    started = time.process_time()

    recording = recorded(HOSTILE[line], OPENED, 'read(3, "", 4) = 4')

    assert is_call(HOSTILE[line].encode()) in {True, False}
    assert time.process_time() - started < 2
    assert len(make_start_profile(recording).profile.files) == 1


PROGRAM = """
import json, os, subprocess, sys, threading
def read(): open({0!r} + "/big").read(5000)
thread = threading.Thread(target=read); thread.start(); thread.join()
os.chdir({0!r})
descriptor = os.open("sub/../big", os.O_RDONLY)
os.pread(descriptor, 1000, 60000)
if os.fork() == 0:
    os.read(descriptor, 300); os._exit(0)
os.wait()
subprocess.run(["cat", "ä <b>"], stdout=subprocess.DEVNULL, check=True)
"""
FLAGS = {
    "whole": ("-y", "-ttt", "-s", "4096"),
    "plain": ("-tt",),
    "relative times": ("-r", "-yy"),
    "hexadecimal": ("-xx", "-y", "-ttt", "-s", "4096"),
    "on standard error": ("-ttt", "-y"),
    "files alone": ("-ttt", "-e", "trace=file,read,pread64,close,clone,clone3,vfork,fork,chdir,mmap"),
}


@pytest.mark.parametrize("flags", FLAGS)
def test_a_trace_of_a_real_program_has_what_it_read(flags: str, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "big").write_bytes(bytes(100_000))
    (tmp_path / "ä <b>").write_bytes(b"x" * 77)
    program = PROGRAM.format(str(tmp_path))
    output = [] if flags == "on standard error" else ["-o", str(tmp_path / "trace")]
    command = ["strace", "-f", *FLAGS[flags], *output, sys.executable, "-I", "-S", "-c", program]
    done = subprocess.run(command, capture_output=True, check=True)
    trace = (tmp_path / "trace").read_bytes() if output else done.stderr

    reader = StraceOutput()
    for line in trace.split(b"\n"):
        reader.feed(line)
    recording = reader.finish()
    profile = make_start_profile(recording).profile
    files = {one.path: _ranges(one) for one in profile.files}

    here = bytes(tmp_path)
    big = files[here + b"/big"]
    assert big is not None
    assert {(at // 1000) for start, end in big for at in (start, end - 1)} >= {0, 60}
    assert (60_000, 61_000) in big
    assert files[here + "/ä <b>".encode()] == [(0, 77)]
    assert any(path.endswith(b"/cat") for path in files)
    assert not [path for path in files if path.startswith((b"/proc", b"/sys", b"/dev"))]
    assert profile.program is not None
    assert Path(profile.program.decode()).name.startswith("python")
    assert not [note for note in recording.notes if "cannot be read" in note or "cut short" in note]


def test_mutated_traces_are_read_or_counted(tmp_path: Path) -> None:
    subprocess.run(
        ["strace", "-f", "-y", "-r", "-o", tmp_path / "trace", "sh", "-c", "cat /etc/hosts | wc"], check=True
    )
    lines = (tmp_path / "trace").read_bytes().splitlines()
    random_ = random.Random(1)  # noqa: S311 - the same each time
    reader = StraceOutput()
    for number in range(4000):
        line = bytearray(random_.choice(lines))
        for _ in range(random_.randrange(4)):
            line[random_.randrange(len(line))] = random_.choice(b'"<>()[]{}\\,= 0x9\xff')
        reader.feed(bytes(line[: random_.randrange(len(line))] if number % 5 == 0 else line))

    recording = reader.finish()

    assert recording.lines == 4000
    assert make_start_profile(recording).profile.files
