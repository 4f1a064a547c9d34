from __future__ import annotations

import pytest

from soci.oci.json_value import JsonValue, shown


def test_problems_of_nested_values_are_collected_with_their_paths():
    problems: list[str] = []
    root = JsonValue({"a": {"b": [{"c": 5}, 7]}, "d": "yes"}, "settings", problems)
    first, second = root.member("a").member("b").items()

    assert first.is_object()
    assert not second.is_object()
    assert first.member("c").text() == ""
    assert not root.member("d").flag()
    root.report("two fields are at odds")

    assert problems == [
        "settings.a.b[1]: got 7, want an object",
        "settings.a.b[0].c: got 5, want a string",
        "settings.d: got yes, want true or false",
        "settings: two fields are at odds",
    ]


def test_what_is_absent_is_empty_and_no_problem():
    problems: list[str] = []
    root = JsonValue({"null": None}, "", problems)

    for name in ("null", "absent"):
        value = root.member(name)
        assert (value.text(), value.flag(), value.items(), value.member("x").value) == ("", False, [], None)

    assert problems == []


def test_a_problem_of_the_root_has_no_path():
    problems: list[str] = []

    JsonValue([], "", problems).is_object()

    assert problems == ["got [], want an object"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "nothing"),
        ("a-word.1", "a-word.1"),
        ("two words", "'two words'"),
        ("", "''"),
        ("true", "'true'"),
        ("nothing", "'nothing'"),
        ("5", "'5'"),
        (5, "5"),
        (True, "True"),
        (["a"], "['a']"),
        ("x" * 60, "x" * 60),
        ("x" * 61, "x" * 60 + "..."),
    ],
    ids=str,
)
def test_a_value_is_shown_in_a_message(value, text):
    assert shown(value) == text
