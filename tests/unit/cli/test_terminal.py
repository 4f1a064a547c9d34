from __future__ import annotations

import json
import os
import pty
import select
import subprocess

import pytest

from soci.cli.terminal import count_text, print_json, print_table, printable, short, size_text
from tests.builders import describe


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1_023, "1023 B"),
        (1_024, "1.0 KiB"),
        (9_933, "9.7 KiB"),
        (1_048_575, "1.0 MiB"),
        (1 << 20, "1.0 MiB"),
        (5 << 30, "5.0 GiB"),
        (5 << 50, "5120.0 TiB"),
    ],
)
def test_a_size_has_a_unit(size_bytes, text):
    assert size_text(size_bytes) == text


def test_a_count_has_its_noun():
    assert [count_text(n, "span") for n in (0, 1, 2, 1_024)] == [
        "0 spans",
        "1 span",
        "2 spans",
        "1,024 spans",
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ü 漢", "plain ü 漢"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\x1b[31mred\x7f", r"\x1b[31mred\x7f"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\udcff", r"\udcff"),
    ],
    ids=["letters", "newline", "escape", "right to left", "no unicode"],
)
def test_control_characters_are_escaped(text, shown):
    assert printable(text) == shown


def test_a_digest_is_shown_by_its_beginning():
    digest = describe(b"x", "").digest

    assert short(digest) == digest.hex[:12]


def test_a_table_in_a_pipe_is_plain_text_in_columns(capsys):
    print_table(("NAME", "SIZE", "NOTE"), [("a", "1 B", ""), ("long name", "100 B", "x")], right=("SIZE",))

    assert capsys.readouterr().out.splitlines() == [
        "NAME        SIZE  NOTE",
        "a            1 B",
        "long name  100 B  x",
    ]


def test_columns_are_as_wide_as_what_is_seen(capsys):
    print_table(("NAME", "SIZE"), [("漢字", "1 B"), ("e\u0301", "2 B"), ("\x1b", "3 B")])

    assert capsys.readouterr().out.splitlines() == [
        "NAME  SIZE",
        "漢字  1 B",
        "e\u0301     2 B",
        r"\x1b  3 B",
    ]


def test_a_table_without_rows_is_its_header(capsys):
    print_table(("NAME", "SIZE"), [])

    assert capsys.readouterr().out == "NAME  SIZE\n"


def test_a_long_cell_is_neither_folded_nor_cut(capsys):
    print_table(("SIZE", "N" * 300), [("1 B", "n" * 500)])

    assert list(map(len, capsys.readouterr().out.splitlines())) == [306, 506]


def test_markup_in_a_name_is_text(capsys):
    print_table(("NAME",), [("[bold]x[/]",)])

    assert "[bold]x[/]" in capsys.readouterr().out


def test_json_can_be_written_in_any_locale(capsys):
    document = {"path": "ü \udcff\n"}

    print_json(document)

    written = capsys.readouterr().out
    assert written.isascii()
    assert json.loads(written) == document


def output_on_a_terminal(command: list[str]) -> tuple[str, str]:
    """What a command writes to its standard error, a terminal, and to its standard output, a pipe."""
    controller, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=terminal, env=environment) as process:
        os.close(terminal)
        shown = b""
        while select.select([controller], [], [], 20)[0]:
            try:
                shown += os.read(controller, 65_536)
            except OSError:  # the other end is closed
                break
        os.close(controller)
        assert process.stdout is not None
        return shown.decode(), process.stdout.read().decode()


def test_on_a_terminal_progress_is_shown_by_bars_that_vanish(layout):
    command = ["soci-index", "convert", f"oci:{layout}:latest", "--min-layer-size", "0"]

    shown, piped = output_on_a_terminal(command)

    assert "\x1b[?25l" in shown, "the cursor is hidden while bars are drawn"
    assert "\x1b[?25h" in shown, "and shown again"
    assert "\x1b" not in piped
    assert "indexed" in piped


def test_in_a_pipe_there_are_neither_bars_nor_colours(process, layout):
    result = process("convert", f"oci:{layout}:latest", "--min-layer-size", "0")

    assert result.stderr == ""
    assert "\x1b" not in result.stdout
    assert "\r" not in result.stdout
