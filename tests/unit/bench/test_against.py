from __future__ import annotations

import subprocess

import pytest
from rich.console import Console

from bench import against
from bench.layers import BenchLayer
from bench.turns import by_turns

COMMAND = "import pathlib, sys\npathlib.Path(sys.argv[-1]).write_text({ztoc!r})\n"


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A repository whose command writes a zTOC, with one commit."""
    root = tmp_path / "clone"
    package = root / "layers/soci/python/soci"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(COMMAND.format(ztoc="a zTOC"))
    git = ["git", "-C", root, "-c", "user.name=test", "-c", "user.email=test@example.com"]
    for arguments in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "before"]):
        subprocess.run([*git, *arguments], check=True)
    monkeypatch.setattr(against, "ROOT", root)
    return root


@pytest.fixture
def layer(tmp_path):
    return BenchLayer(
        name="a layer", path=tmp_path / "layer", compressed_bytes=1, uncompressed_bytes=1, files=1
    )


def worktrees(clone) -> list[str]:
    listed = subprocess.run(
        ["git", "-C", clone, "worktree", "list"], check=True, capture_output=True, text=True
    )
    return listed.stdout.splitlines()


def test_the_commands_of_both_trees_run_and_their_ratio_is_shown(clone, layer):
    table = against.compare([layer], "HEAD", rounds=1)

    console = Console(width=160)
    with console.capture() as printed:
        console.print(table)
    assert "HEAD CPU s" in printed.get()
    cells = [[str(cell) for cell in column.cells] for column in table.columns]
    assert cells[0] == ["a layer"]
    assert all(float(cell) >= 0 for column in cells[1:] for cell in column)
    assert len(worktrees(clone)) == 1, "the other tree is gone afterwards"


def test_two_commands_that_write_different_ztocs_are_not_compared(clone, layer):
    (clone / "layers/soci/python/soci/__main__.py").write_text(COMMAND.format(ztoc="another zTOC"))

    with pytest.raises(SystemExit, match="a layer: the two zTOCs differ"):
        against.compare([layer], "HEAD", rounds=1)
    assert len(worktrees(clone)) == 1


def test_an_unknown_revision_is_named(clone, layer):
    with pytest.raises(SystemExit, match="cannot check out nowhere"):
        against.compare([layer], "nowhere", rounds=1)
    assert clone.exists()


def test_both_take_turns_and_neither_is_always_first():
    order: list[str] = []

    (pair,) = by_turns(lambda: order.append("ours"), lambda: order.append("floor"), rounds=3)

    assert order == ["ours", "floor", "floor", "ours", "ours", "floor"]
    assert (len(pair.ours), len(pair.floor)) == (3, 3)
    assert pair.best_ratio == min(pair.ours) / min(pair.floor)
