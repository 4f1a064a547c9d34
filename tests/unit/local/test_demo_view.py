"""What the demonstration draws, on terminals of several widths."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from local.demo.view import Started, images_table, timeline
from local.system.record import Run, Status, Visit
from local.system.workflows import Execution

OUTCOMES = [
    ("shop/app", "1.0", "push", "indexed", None),
    ("shop/app", "1.0-soci", "the new tag", "skipped", "own-artifact"),
    ("shop/app", "1.0", "push again", "skipped", "already-indexed"),
    ("shop/tools", "1.0", "a small one", "tagged", "image-too-small"),
    ("shop/tools", "1.0-soci", "the new tag", "skipped", "own-artifact"),
    ("shop/app", "1.0", "by hand", "indexed", None),
]
LONGEST = ("shop/tools", "1.0-soci", "the new tag", "nothing-to-index", "architecture-excluded")
COLUMNS = ["IMAGE", "STARTED BY", "OUTCOME", "REASON", "LAYERS", "ZTOCS", "TIME"]


def told(repository, tag, cause, outcome, reason):
    output = {"outcome": outcome, "reason": reason, "repository": repository, "tag": tag}
    if outcome == "indexed":
        output |= {"platforms": [{"layers_indexed": 3}], "ztoc_bytes": 12_300_000}
    visit = Visit(state="Filter", input={}, entered=0, left=11.2)
    run = Run(name="1", visits=[visit], status=Status.SUCCEEDED, output=output)
    return Started(
        execution=Execution(state_machine="IndexImage", name="1", input={}, attempts=[run]), cause=cause
    )


def printed(width, *rows):
    out = StringIO()
    console = Console(file=out, width=width)
    console.print(images_table([told(*row) for row in rows], console))
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 88, 100, 120, 200])
def test_each_execution_has_one_line_with_all_its_words(width):
    head, *lines = printed(width, *OUTCOMES)

    assert len(lines) == len(OUTCOMES)
    for line, (repository, tag, cause, outcome, reason) in zip(lines, OUTCOMES, strict=True):
        assert len(line) <= width
        assert [f"{repository}:{tag}", *cause.split(), outcome] == line.split()[: 2 + len(cause.split())]
        assert reason is None or f" {reason} " in f"{line} "
    assert "…" not in "".join([head, *lines])
    assert all(column in head for column in COLUMNS[:4])


@pytest.mark.parametrize(("width", "left_out"), [(80, ["LAYERS"]), (100, [])], ids=["narrow", "wide"])
def test_numbers_are_left_out_in_a_narrow_terminal(width, left_out):
    head, *_ = printed(width, *OUTCOMES)

    assert [column for column in COLUMNS if column not in head] == left_out


@pytest.mark.parametrize("width", [50, 60, 70, 80])
def test_names_fold_before_an_outcome_or_a_reason_is_cut(width):
    text = printed(width, *OUTCOMES, LONGEST)

    assert "…" not in "".join(text)
    for _, _, _, outcome, reason in (*OUTCOMES, LONGEST):
        assert any(f" {outcome} " in f"{line} " for line in text)
        assert reason is None or any(f" {reason} " in f"{line} " for line in text)


@pytest.mark.parametrize("calls", [1, 9])
def test_a_state_takes_one_line_of_80_columns(calls):
    layer = {"layer": {"digest": f"sha256:{'a' * 64}", "size": 123_400_000}}
    visit = Visit(state="Index layer", input=layer, entered=0, left=899.9, calls=calls)
    out = StringIO()
    Console(file=out, width=80).print(timeline(Run(name="1", visits=[visit])))

    line, axis = out.getvalue().splitlines()
    assert "899.9 s ✓" in line
    assert axis.endswith("899.9 s")
