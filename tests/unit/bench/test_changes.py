from __future__ import annotations

import ast
from pathlib import Path

import pytest

from bench.changes import find_changes


def changed(source: str) -> list[str]:
    """All changed versions of a source."""
    return [change.apply(source.encode()).decode() for change in find_changes(source.encode())]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < b", ["a <= b"]),
        ("a is not b", ["a is b"]),
        ("(a) in (b)", ["(a) not in (b)"]),
        ("a < b < c", ["a <= b < c", "a < b <= c"]),
        ("a and b", ["True and b", "a or b", "a and True"]),
        ("a or ()", ["False or ()", "a and ()"]),
        ("not a", ["a"]),
        ("x = 7", ["x = 8"]),
        ("x = True", ["x = False"]),
        ("x = 'key'", ["x = 'keyx'"]),
        ("x = b'key'", ["x = b'keyx'"]),
        ("x = y + z", ["x = y - z"]),
        ("x += y", ["x -= y"]),
        ("x = y[a:b]", ["x = y[None:b]", "x = y[a:None]"]),
        ("save(x)", ["None"]),
        ("x = y if z else w", ["x = y if True else w", "x = y if False else w"]),
        ("[x for x in y if z]", ["[x for x in y if True]"]),
        ("while a:\n    b", ["while False:\n    b"]),
        ("if a:\n    b", ["if True:\n    b", "if False:\n    b"]),
        ("def f():\n    return a", ["def f():\n    return None"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_change_replaces_one_piece(source, expected):
    assert changed(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        '"""A docstring."""',
        "x: int | None",
        "def f(a: int | None) -> int | None:\n    pass",
        "@dataclass(frozen=True)\nclass A:\n    pass",
        "raise Refused(f'{a} != {1}')",
        "x = 'a sentence for people'",
        "x = f'{a}'",
        "def f():\n    return None",
    ],
    ids=["docstring", "annotation", "signature", "decorator", "error", "sentence", "format", "none"],
)
def test_what_tests_need_not_notice_stays_as_it_is(source):
    assert changed(source) == []


def test_columns_behind_letters_of_several_bytes_are_right():
    assert changed("x = 'ü é', a < b") == ["x = 'ü é', a <= b"]


def test_a_change_is_described_by_its_operator_its_line_and_both_texts():
    source = b"x = 1\nif a:\n    y = b <= c\n"

    described = [change.describe(source) for change in find_changes(source)]

    assert described[-1] == "compare    line 3: y = b [<= -> <] c"


def test_every_change_of_a_module_of_ours_can_be_compiled():
    source = Path(find_changes.__code__.co_filename).read_bytes()

    changes = find_changes(source)

    assert len(changes) > 50
    assert len({change.apply(source) for change in changes}) == len(changes)
    for change in changes:
        ast.parse(change.apply(source))
