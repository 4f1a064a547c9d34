from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from soci import __version__
from soci.layer.inflate import default_engine
from tests.builders import file, gzip_of, image_of, layout_of, noise, tar_of

MAX_MODULES = 240
"""Modules that are loaded to print the version. More make each start slower."""

COMMANDS = [
    *("ztoc", "create", "convert", "plan", "inspect", "ls", "cat", "mount", "verify", "remove", "decide"),
    *("status", "wait", "check-task", "clean", "estimate", "profile", "advise"),
]
PROFILE_COMMANDS = ["import", "merge", "show", "push", "pull"]


def test_the_version_names_the_inflate_engine(soci_index):
    engine = default_engine()

    assert soci_index("--version").stdout == f"soci-index {__version__} ({engine.name} {engine.version})\n"


def test_the_command_is_also_a_module():
    done = subprocess.run([sys.executable, "-m", "soci", "--version"], capture_output=True, check=True)

    assert done.stdout.startswith(f"soci-index {__version__} (".encode())


def test_a_start_loads_only_what_it_needs():
    program = """
import sys
from soci.cli.app import run
try:
    run(["--version"])
except SystemExit:
    print(len(sys.modules), *{name.partition(".")[0] for name in sys.modules})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    count, *packages = done.stdout.splitlines()[-1].split()

    assert int(count) <= MAX_MODULES
    assert not {"rich", "boto3", "botocore", "urllib3", "zstandard", "flatbuffers", "aws_cdk"} & set(packages)


def test_help_lists_every_command(soci_index):
    text = soci_index("--help").stdout

    assert commands_in(text) == COMMANDS
    assert commands_in(soci_index("profile", "--help").stdout) == PROFILE_COMMANDS


def commands_in(text):
    return [line.split()[0] for line in text.partition("Commands:")[2].splitlines() if line.strip()]


@pytest.mark.parametrize(
    "name",
    [*(one for one in COMMANDS if one != "profile"), *(f"profile {name}" for name in PROFILE_COMMANDS)],
)
def test_each_command_explains_itself(soci_index, name):
    text = soci_index(*name.split(), "--help").stdout

    assert text.startswith(f"Usage: soci-index {name} ")
    assert "--json" in text
    assert "[[" not in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["plan"],
        ["plan", "--no-such-flag", "oci:x"],
        ["plan", "./x"],
        ["profile", "nothing"],
        ["profile", "merge"],
        ["plan", "oci:"],
        ["ls", "oci:a@b"],
    ],
    ids=["command", "argument", "flag", "reference", "group", "group argument", "path", "tag"],
)
def test_a_usage_error_has_status_2(soci_index, arguments):
    result = soci_index(*arguments, status=1 if arguments == ["ls", "oci:a@b"] else 2)

    assert result.stdout == ""
    assert result.stderr


@pytest.mark.parametrize("arguments", [[], ["profile"]], ids=["program", "group"])
def test_without_arguments_there_is_help(soci_index, arguments):
    result = soci_index(*arguments, status=2)

    assert "Commands:" in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("reference", "status", "expected"),
    [
        ("oci:{tmp}/none", 1, ("StorageError", "No such file or directory")),
        ("oci:{tmp}:latest", 1, ("SourceError", "not an OCI layout")),
        ("oci:{layout}:none", 1, ("NotInImage", "one image with tag 'none', found none; tags: latest")),
        ("docker-archive:{layout}/index.json", 1, ("SourceError", "not a readable tar file")),
        ("./nonsense", 2, ("InvalidReference", "accepted are [HOST/]NAME")),
    ],
)
def test_an_error_is_one_line_and_with_json_a_document_too(soci_index, layout, reference, status, expected):
    reference = reference.format(tmp=layout.parent, layout=layout)
    kind, message = expected

    plain = soci_index("plan", reference, status=status)
    result = soci_index("plan", reference, "--json", status=status)

    assert plain.stdout == ""
    assert plain.stderr == result.stderr
    assert plain.stderr.startswith("soci-index: ")
    assert plain.stderr.count("\n") == 1
    assert message in plain.stderr
    error = result.document["error"]
    assert error == {"type": kind, "message": error["message"], "retryable": False}
    assert f"soci-index: {error['message']}\n" == plain.stderr


def test_an_error_cannot_move_the_cursor(soci_index, tmp_path):
    result = soci_index("plan", f"oci:{tmp_path}/\x1b[31m\n", status=1)

    assert "\x1b" not in result.stderr
    assert r"\x1b[31m\n" in result.stderr


def test_an_argument_that_is_no_unicode_is_shown_as_escapes(process, tmp_path):
    result = process(
        "inspect", "--json", os.fsencode(tmp_path / "\udcff").decode("utf-8", "surrogateescape"), status=1
    )

    assert result.document["error"]["message"].endswith("\udcff: No such file or directory")
    assert r"\udcff" in result.stderr


@pytest.fixture
def many_files(tmp_path):
    layer = tar_of(*(file(f"directory/of/many/files/{number:06}") for number in range(5_000)))
    return f"oci:{layout_of(tmp_path / 'many', image_of(layer))}:latest"


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("flags", [[], ["--json"], ["--long"]], ids=["lines", "json", "table"])
def test_a_closed_pipe_is_not_an_error(many_files, flags, unbuffered):
    command = ["soci-index", "ls", many_files, "-R", *flags]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        errors = process.stderr.read()

    assert errors == b""
    assert process.returncode in (0, 1)


def test_a_full_output_is_an_error_of_one_line(layout):
    for arguments in (
        ["plan", f"oci:{layout}:latest", "--json"],
        ["cat", f"oci:{layout}:latest", "/bin/app"],
    ):
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(
                ["soci-index", *arguments], stdout=full, stderr=subprocess.PIPE, check=False
            )

        assert done.returncode == 1
        assert done.stderr == b"soci-index: [Errno 28] No space left on device\n"


@pytest.mark.parametrize("closing", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_outputs_are_not_written_to(layout, closing):
    for reference, status in ((f"oci:{layout}:latest", 0), (f"oci:{layout}:none", 1)):
        done = subprocess.run(
            ["sh", "-c", f"exec soci-index plan {reference} {closing}"], capture_output=True, check=False
        )

        assert done.returncode == status
        assert b"Traceback" not in done.stderr


def test_a_closed_input_is_an_error():
    done = subprocess.run(["sh", "-c", "exec soci-index ztoc - <&-"], capture_output=True, check=False)

    assert done.returncode == 1
    assert done.stderr == b"soci-index: standard input is closed\n"


def test_names_that_the_locale_cannot_write_are_escaped(process, tmp_path):
    layout = layout_of(tmp_path / "image", image_of(tar_of(file("ü漢"))))
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}

    result = process("ls", f"oci:{layout}:latest", env=environment)

    assert result.stdout == "\\xfc\\u6f22\n"


@pytest.mark.parametrize(
    ("sent", "status", "message"),
    [(signal.SIGINT, 130, b"soci-index: interrupted\n"), (signal.SIGTERM, 143, b"")],
    ids=["interrupt", "end"],
)
def test_a_signal_ends_with_its_status_and_leaves_no_file(tmp_path, sent, status, message):
    layout = layout_of(tmp_path / "image", image_of(gzip_of(tar_of(file("a", noise(1_000))))))
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    command = ["soci-index", "ztoc", str(fifo), "-o", str(layout / "out")]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process, fifo.open("wb") as layer:
        layer.write(gzip_of(tar_of(file("a", noise(200_000))))[:100_000])
        layer.flush()
        time.sleep(0.2)  # until it has read that and waits for more
        process.send_signal(sent)
        assert process.stderr is not None
        errors = process.stderr.read()

    assert process.returncode == status
    assert errors == message
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == before
