from __future__ import annotations

import json
import os
import subprocess

import pytest

from soci.start.profile import parse_profile
from tests.builders import directory, file, gzip_of, image_of, layout_of, noise, symlink, tar_of, text
from tests.recipes import convert_layout
from tests.unit.cli.samples import PLATFORMS
from tests.unit.start.test_interpreters import elf

SPAN = 65_536
LAYERS = (
    gzip_of(
        tar_of(
            directory("usr"),
            file("usr/bin/app", noise(3 * SPAN), mode=0o755),
            file("usr/lib/libx.so.1.2", noise(2 * SPAN, "x")),
            symlink("usr/lib/libx.so.1", "libx.so.1.2"),
            symlink("lib", "usr/lib"),
        )
    ),
    gzip_of(tar_of(file("etc/app.conf", text(100)))),
)
LOG = "".join(
    json.dumps({"level": "debug", "msg": "FUSE operation", "operation": operation, "path": path, "time": at})
    + "\n"
    for operation, path, at in (
        ("node.Lookup", "usr", "2026-08-20T14:03:22.000000000Z"),
        ("file.Read", "of/another/image", "2026-08-20T14:03:20.000000000Z"),
        ("file.Read", "usr/bin/app", "2026-08-20T14:03:22.100000000Z"),
        ("file.Read", "usr/lib/libx.so.1.2", "2026-08-20T14:03:22.150000000Z"),
        ("file.Read", "etc/app.conf", "2026-08-20T14:03:30.000000000Z"),
    )
)
TRACE = """\
7     10:00:00.000000 execve("/run/root/usr/bin/app", ["app"], 0x7f /* 3 vars */) = 0
7     10:00:00.010000 openat(AT_FDCWD</run/root>, "/run/root/lib/libx.so.1", O_RDONLY|O_CLOEXEC) = 3
7     10:00:00.010000 read(3, "x"..., 832) = 832
7     10:00:00.020000 pread64(3, "x"..., 999999, 100000) = 31072
7     10:00:00.030000 openat(AT_FDCWD, "/etc/host.conf", O_RDONLY|O_CLOEXEC) = 4
7     10:00:00.030000 read(4, "x"..., 832) = 9
"""


@pytest.fixture
def image(tmp_path):
    layout = layout_of(tmp_path / "image", image_of(*LAYERS, platform=PLATFORMS[0]))
    convert_layout(layout, span_size_bytes=SPAN, min_layer_size_bytes=1000)
    return f"oci:{layout}:latest-soci"


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "soci.log"
    path.write_text(LOG)
    return path


@pytest.fixture
def trace(tmp_path):
    path = tmp_path / "trace"
    path.write_text(TRACE)
    return path


@pytest.fixture
def importing(soci_index, tmp_path):
    def run(content, *arguments, status):
        (tmp_path / "recording").write_text(content)
        options = (one.format(tmp=tmp_path) for one in arguments)
        return soci_index("profile", "import", tmp_path / "recording", *options, status=status)

    return run


def paths_in(raw):
    return [one.path.decode() for one in parse_profile(raw).files]


def test_a_log_gives_whole_files_in_the_order_of_need(soci_index, log):
    result = soci_index("profile", "import", log)

    assert paths_in(result.raw) == [
        *("/of/another/image", "/usr/bin/app", "/usr/lib/libx.so.1.2", "/etc/app.conf"),
    ]
    assert result.stderr == (
        "soci-index: the log does not tell images apart; --image IMAGE leaves out the files of others\n"
    )


def test_with_the_image_files_of_others_are_left_out_and_the_rest_is_filled_in(
    soci_index, log, image, tmp_path
):
    out = tmp_path / "profile.json"

    lines = soci_index("profile", "import", log, "--image", image, "-o", out).stdout

    profile = parse_profile(out.read_bytes())
    assert lines.splitlines() == [
        "3 files in 7.9 s, from 5 lines",
        "program /usr/bin/app",
        "1 path left out: no file of the image",
        f"written to {out}",
    ]
    assert (profile.program, str(profile.platform)) == (b"/usr/bin/app", PLATFORMS[0])
    app, library, config = profile.files
    assert (app.path, app.size_bytes, app.first_ms, app.spans) == (b"/usr/bin/app", 3 * SPAN, 0, (0, 1, 2))
    assert (library.first_ms, library.spans, library.layer) == (50, (3, 4), app.layer)
    assert (config.spans, config.layer == app.layer) == ((), False)
    assert profile.image is not None


def test_a_trace_gives_what_was_read_and_root_says_where_the_image_was(soci_index, trace, image):
    options = ("--root", "/run/root", "--image", image)

    profile = parse_profile(soci_index("profile", "import", trace, *options).raw)
    without_image = paths_in(soci_index("profile", "import", trace, "--root", "/run/root").raw)

    app, library = profile.files
    assert profile.program == app.path == b"/usr/bin/app"
    assert (app.ranges, app.spans) == ((), (0, 1, 2))
    assert library.path == b"/usr/lib/libx.so.1.2"
    assert [(one.start, one.end, one.first_ms) for one in library.ranges] == [
        (0, 832, 10),
        (100_000, 131_072, 20),
    ]
    assert library.spans == (3, 4)
    assert without_image == ["/usr/bin/app", "/lib/libx.so.1"]


def test_interpreter_and_loader_of_a_program_are_found_in_the_image(soci_index, tmp_path):
    layer = tar_of(
        file("app/start", b"#!/usr/bin/shell -e\nexit\n", mode=0o755),
        file("usr/bin/real-shell", elf(), mode=0o755),
        symlink("usr/bin/shell", "real-shell"),
        file("lib/ld-2.so", elf(segments=(1,)), mode=0o755),
        symlink("lib/ld.so.1", "ld-2.so"),
    )
    layout = layout_of(tmp_path / "image", image_of(gzip_of(layer), platform=PLATFORMS[0]))
    trace = tmp_path / "trace"
    trace.write_text('7 10:00:00 execve("/mnt/app/start", ["start"], 0x7f /* 3 vars */) = 0\n')

    raw = soci_index("profile", "import", trace, "--image", f"oci:{layout}", "--root", "/mnt").raw
    without_image = soci_index("profile", "import", trace).raw

    assert paths_in(raw) == ["/app/start", "/lib/ld-2.so", "/usr/bin/real-shell"]
    assert parse_profile(raw).program == b"/app/start"
    assert paths_in(without_image) == ["/mnt/app/start"]


def test_reads_behind_the_end_of_the_image_s_file_do_not_make_it_whole(soci_index, tmp_path, image):
    trace = tmp_path / "trace"
    trace.write_text(
        '1 10:00:00 openat(AT_FDCWD, "/etc/app.conf", O_RDONLY) = 3\n'
        '1 10:00:00 pread64(3, "", 9, 5000) = 9\n'
        '1 10:00:00 openat(AT_FDCWD, "/usr/bin/app", O_RDONLY) = 4\n'
        f'1 10:00:00 pread64(4, "", 99, {3 * SPAN - 9}) = 99\n'
    )

    config, app = parse_profile(soci_index("profile", "import", trace, "--image", image).raw).files

    assert (config.size_bytes, [(one.start, one.end) for one in config.ranges], config.spans) == (
        100,
        [(5000, 5009)],
        (),
    )
    assert ([(one.start, one.end) for one in app.ranges], app.spans) == ([(3 * SPAN - 9, 3 * SPAN)], (2,))


def test_seconds_end_the_start(soci_index, log, image):
    profile = soci_index("profile", "import", log, "--image", image, "--seconds", "5").raw

    assert paths_in(profile) == ["/usr/bin/app", "/usr/lib/libx.so.1.2"]


def test_a_summary_as_json(soci_index, trace, tmp_path):
    trace.write_text(TRACE + "output of the program\n" + '7 10:00:01.0 open("/cut"..., O_RDONLY) = 5\n')

    document = soci_index(
        *("profile", "import", trace, "-o", tmp_path / "out", "--json", "--platform", "linux/arm64"),
    ).document

    assert document == {
        "format": "strace",
        "lines": 8,
        "other_lines": 1,
        "files": 3,
        "left_out": 0,
        "seconds": 0.03,
        "program": "/run/root/usr/bin/app",
        "image": None,
        "platform": "linux/arm64",
        "notes": ["paths that strace cut short, left out: 1; record with -s 4096"],
        "output": str(tmp_path / "out"),
    }


def test_a_recording_can_come_from_standard_input(process, trace):
    result = process("profile", "import", "-", "--format", "strace", input=trace.read_bytes())

    assert len(paths_in(result.raw)) == 3


@pytest.mark.parametrize(
    ("content", "arguments", "status", "message"),
    [
        ("", [], 1, "neither the snapshotter's log nor the output of strace; --format says which it is"),
        ("hello\n" * 9, [], 1, "neither the snapshotter's log"),
        (
            '{"level":"info"}\n',
            [],
            1,
            "no read of a file in 1 line: the snapshotter logs reads with the log level debug",
        ),
        ("hello\n", ["--format", "strace"], 1, "no read of a file in 1 line: record with strace -f -y -ttt"),
        ('1 open("/x"..., 0) = 3\n', [], 1, "record with -s 4096"),
        (LOG, ["--root", "/mnt"], 1, "none of 4 paths is a file of /mnt"),
        (LOG, ["--root", "mnt"], 2, "--root mnt: want an absolute path"),
        (LOG, ["--seconds", "nan"], 2, "'nan' is not a number"),
        (LOG, ["--image", "oci:{tmp}/none"], 1, "No such file or directory"),
        (LOG, ["-o", "{tmp}/none/out"], 1, "/none does not exist"),
    ],
    ids=[
        "empty",
        "text",
        "log level",
        "no trace",
        "cut",
        "root",
        "relative root",
        "seconds",
        "image",
        "directory",
    ],
)
def test_what_cannot_be_imported_is_said(importing, content, arguments, status, message):
    result = importing(content, *arguments, status=status)

    assert message in result.stderr
    assert result.stdout == ""


def test_json_takes_a_file_for_the_profile(importing):
    result = importing(LOG, "--json", status=2)

    assert "-o FILE says where to write the profile" in result.document["error"]["message"]


def test_a_missing_recording_is_said(soci_index, tmp_path):
    assert "none: No such file" in soci_index("profile", "import", tmp_path / "none", status=1).stderr


def test_a_profile_holds_nothing_of_the_machine(soci_index, tmp_path):
    trace = tmp_path / "trace"
    environment = {**os.environ, "SECRET_TOKEN": "s3cr3t-value"}
    command = ["strace", "-f", "-y", "-v", "-ttt", "-s", "4096", "-o", str(trace), "cat", "/etc/hosts"]
    subprocess.run([*command, "--", "/etc/hosts"], env=environment, capture_output=True, check=True)
    pid = trace.read_text().split()[0]
    assert "s3cr3t-value" in trace.read_text()

    raw = soci_index("profile", "import", trace).raw

    assert "/etc/hosts" in paths_in(raw)
    assert b"s3cr3t" not in raw
    assert set(json.loads(raw)) == {"version", "program", "starts", "files"}
    assert all(
        set(one) <= {"path", "size", "starts", "first_ms", "last_ms", "ranges"}
        for one in json.loads(raw)["files"]
    )
    assert f'"{pid}"'.encode() not in raw
