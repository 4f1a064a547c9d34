from __future__ import annotations

import json
import random
import time

import pytest

from soci.start.import_recording import make_start_profile
from soci.start.profile import MAX_MS
from soci.start.recording import MAX_LINE_BYTES, Recording, split_lines
from soci.start.snapshotter_log import SnapshotterLog, parse_time


def log_line(
    path: object, at: str = "00.000000000", *, operation: str = "file.Read", **fields: object
) -> str:
    """A line as the snapshotter's own formatter writes it: logrus, keys sorted, fixed nanoseconds."""
    line = {
        "level": "debug",
        "msg": "FUSE operation",
        "operation": operation,
        "path": path,
        "time": f"2026-08-20T14:03:{at}Z",
    }
    return json.dumps(line | fields, separators=(",", ":"))


def recorded(*lines: str | bytes) -> Recording:
    log = SnapshotterLog()
    for line in lines:
        log.feed(line if isinstance(line, bytes) else line.encode())
    return log.finish()


def files_of(recording: Recording, limit_ms: int = MAX_MS) -> list[tuple[bytes, int, int]]:
    profile = make_start_profile(recording, limit_ms=limit_ms).profile
    assert all(one.is_whole and one.size_bytes is None for one in profile.files)
    return [(one.path, one.first_ms, one.last_ms) for one in profile.files]


def test_reads_give_whole_files_with_their_first_and_last_time() -> None:
    recording = recorded(
        '{"level":"info","msg":"remote snapshot successfully prepared.","time":"2026-08-20T14:03:21.9Z"}',
        log_line("usr/bin/python3.11", "22.000000000"),
        log_line("usr/lib/libc.so.6", "22.004999999", operation="node.Open"),
        log_line("usr/lib/libc.so.6", "22.005000000"),
        log_line("usr/bin/python3.11", "22.250000000"),
        "plain text of something else",
    )

    assert files_of(recording) == [(b"/usr/bin/python3.11", 0, 250), (b"/usr/lib/libc.so.6", 5, 5)]
    assert (recording.lines, recording.other_lines, recording.notes) == (6, 3, ())


FORMS = {
    "json": log_line("a b", "01.000000000"),
    "journal": "Aug 20 14:03:01 host soci-snapshotter-grpc[77]: " + log_line("a b", "01.000000000"),
    "journald json": json.dumps({"_PID": "77", "MESSAGE": log_line("a b", "01.000000000")}),
    "collector": json.dumps({"log": log_line("a b", "01.000000000") + "\n", "stream": "stderr"}),
    "key=value": 'time="2026-08-20T14:03:01.0Z" level=debug msg="FUSE operation" operation=file.Read path="a b"',
    "key=value in a journal": "Aug 20 14:03:01 host soci[7]: "
    'time="2026-08-20T14:03:01Z" level=debug msg="FUSE operation" operation=file.Read path="a\\x20b"',
    "other fields": log_line("/a b", "01.000000000", error={"nested": ["{", {}]}),
    "another zone": json.dumps(
        {"operation": "file.Read", "path": "a b", "time": "2026-08-20T16:03:01+02:00"}
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_the_log_is_read(form: str) -> None:
    recording = recorded(log_line("first"), FORMS[form])

    assert files_of(recording) == [(b"/first", 0, 0), (b"/a b", 1000, 1000)]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (log_line("../../etc/passwd"), "its path cannot be read"),
        (log_line("a/./b"), "its path cannot be read"),
        (log_line(""), "its path cannot be read"),
        (log_line("a\0b"), "its path cannot be read"),
        (log_line("lost\ufffdbyte"), "its path cannot be read"),
        (log_line("x" * 5000), "its path cannot be read"),
        (log_line(7), "its path cannot be read"),
        (log_line("\ud800"), "its path cannot be read"),
        (log_line("a", "99.0"), "its time is '2026-08-20T14:03:99.0Z'"),
        (log_line("a", time=5), "its time is '5'"),
        ("file.Read", "it is neither JSON nor key=value pairs"),
        ("[" * 100_000 + "file.Read", "it is neither JSON nor key=value pairs"),
        ('{"a":' * 100_000 + "file.Read", "it is neither JSON nor key=value pairs"),
    ],
    ids=lambda value: value[-40:] if isinstance(value, str) else "",
)
def test_a_line_that_cannot_be_used_is_counted_and_the_first_is_named(line: str, why: str) -> None:
    recording = recorded(log_line("first"), line, line)

    assert files_of(recording) == [(b"/first", 0, 0)]
    assert recording.notes == (f"lines about reads that cannot be used: 2, the first is line 2: {why}",)


@pytest.mark.parametrize(
    "line",
    [
        "a" * 500_000,
        'a="\\"' * 100_000,
        "a=b " * 100_000,
        '{"' * 200_000,
        "{" + " " * 500_000,
        "a=" + "\\x" * 200_000,
    ],
    ids=["name", "open strings", "pairs", "objects", "spaces", "escapes"],
)
def test_a_hostile_line_takes_no_more_time_than_a_long_one(line: str) -> None:
    started = time.process_time()

    recording = recorded(log_line("first"), f"{line} operation=file.Read path=x")

    assert time.process_time() - started < 2
    assert b"/first" in [path for path, _, _ in files_of(recording)]


def test_names_keep_their_bytes_where_the_log_has_them() -> None:
    recording = recorded(
        log_line("größe"), rb'level=debug operation=file.Read path="caf\xe9\n" time="2026-08-20T14:03:00Z"'
    )

    assert [path for path, _, _ in files_of(recording)] == [b"/caf\xe9\n", "/größe".encode()]


def test_reads_after_the_limit_are_no_part_of_the_start() -> None:
    recording = recorded(log_line("a"), log_line("b", "05.0"), log_line("c", "05.001"), log_line("a", "50.0"))

    assert files_of(recording, limit_ms=5000) == [(b"/a", 0, 5000), (b"/b", 5000, 5000)]


def test_without_times_the_order_counts() -> None:
    lines = ('{"operation":"file.Read","path":"b"}', '{"operation":"file.Read","path":"a"}', log_line("c"))

    assert [path for path, _, _ in files_of(recorded(*lines))] == [b"/b", b"/a", b"/c"]


def test_lines_out_of_order_and_the_state_directory() -> None:
    recording = recorded(
        log_line(".soci-snapshotter/sha256:0.json"), log_line("late", "05.0"), log_line("early", "04.0")
    )

    assert files_of(recording) == [(b"/early", 0, 0), (b"/late", 1000, 1000)]


def test_mutated_lines_are_read_or_counted() -> None:
    random_ = random.Random(1)  # noqa: S311 - the same each time
    lines = [form.encode() for form in FORMS.values()]
    mutated = []
    for number in range(3000):
        line = bytearray(random_.choice(lines))
        for _ in range(random_.randrange(1, 5)):
            line[random_.randrange(len(line))] = random_.randrange(256)
        mutated.append(bytes(line[: random_.randrange(len(line))] if number % 3 == 0 else line))

    recording = recorded(*mutated)

    assert recording.lines == 3000
    assert len(make_start_profile(recording).profile.files) > 10


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:01Z", 10**9),
        ("1970-01-01T00:00:00.000000001Z", 1),
        ("1970-01-01T01:00:00.5+01:00", 5 * 10**8),
        ("1969-12-31T23:00:00-01:00", 0),
        ("2026-13-01T00:00:00Z", None),
        ("2026-08-20 14:03:22", None),
        ("2026-08-20T14:03:22+99:99", None),
        (None, None),
    ],
)
def test_times_are_those_of_rfc_3339(text: str | None, ns: int | None) -> None:
    assert parse_time(text) == ns


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_lines_are_the_same_in_whatever_pieces_they_come(size: int) -> None:
    text = b"one\ntwo\n\n" + b"x" * (MAX_LINE_BYTES + 50_000) + b"\nlast"
    pieces = (
        [text[at : at + size] for at in range(0, len(text), size)] if size > 7 else [text[:size], text[size:]]
    )

    lines = list(split_lines(pieces))

    assert lines[:3] == [b"one", b"two", b""]
    assert lines[3] == b"x" * MAX_LINE_BYTES
    assert lines[4:] == [b"last"]
