from __future__ import annotations

import sys

import pytest

from bench import mutants

CODE = "def is_small(size):\n    return size < 10\n"
TESTS = "from soci.sizes import is_small\ndef test_nine_is_small():\n    assert is_small(9)\n"
FURTHER_TESTS = "from soci.sizes import is_small\ndef test_more_is_not():\n    assert not is_small(10.5)\n"


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A project of one module, whose test misses a boundary."""
    core, tests = tmp_path / "core", tmp_path / "tests"
    (core / "soci").mkdir(parents=True)
    (core / "soci/__init__.py").touch()
    (core / "soci/sizes.py").write_text(CODE)
    tests.mkdir()
    (tests / "test_sizes.py").write_text(TESTS)
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    monkeypatch.setattr(mutants, "CORE", core)
    monkeypatch.setattr(mutants, "TESTS", tests)
    return tmp_path


@pytest.fixture
def tried(capsys, monkeypatch):
    """Runs the command line, and gives its lines."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # starts sooner

    def run(*arguments: str) -> list[str]:
        monkeypatch.setattr(sys, "argv", ["mutants", *arguments])
        mutants.main()
        lines: list[str] = capsys.readouterr().out.splitlines()
        return lines

    return run


def test_a_change_that_all_tests_pass_is_listed_as_a_survivor(project, tried):
    further = project / "further/test_large.py"
    further.parent.mkdir()
    further.write_text(FURTHER_TESTS)

    lines = tried("soci.sizes", "--jobs", "2", "--also", str(further))

    assert [" ".join(line.split()) for line in lines] == [
        "killed soci/sizes.py return line 2: return [size < 10 -> None] tests/test_sizes.py::test_nine_is_small",
        "SURVIVED soci/sizes.py compare line 2: return size [< -> <=] 10",
        "killed soci/sizes.py constant line 2: return size < [10 -> 11] further/test_large.py::test_more_is_not",
        "3 changes, 1 survived",
    ]
    assert (project / "core/soci/sizes.py").read_text() == CODE


def test_a_change_that_never_ends_is_killed_by_the_time_limit(project, tried, monkeypatch):
    (project / "core/soci/sizes.py").write_text(
        "def is_small(size):\n    while size:\n        size -= size\n"
    )
    (project / "tests/test_sizes.py").write_text(TESTS.replace("assert is_small", "is_small"))
    monkeypatch.setattr(mutants, "LIMIT_FACTOR", 0)
    monkeypatch.setattr(mutants, "LIMIT_SECONDS", 2)

    lines = tried("soci.sizes")

    assert [line for line in lines if "[-= -> +=]" in line and line.endswith("the time limit")]


def test_tests_that_fail_without_any_change_are_reported_before_anything_is_tried(project, tried):
    (project / "tests/test_sizes.py").write_text("def test_it():\n    assert False\n")

    with pytest.raises(SystemExit, match=r"fails without any change: .*test_sizes.py::test_it"):
        tried("soci.sizes")


def test_a_sample_is_the_same_each_time(tried):
    arguments = ("soci.sizes", "--list", "--sample", "3", "--seed", "9")

    first = tried(*arguments)

    assert len(first) == 3
    assert first == tried(*arguments)


def test_a_module_that_does_not_exist_is_named(tried):
    with pytest.raises(SystemExit, match=r"no module soci\.nothing"):
        tried("soci.nothing")
