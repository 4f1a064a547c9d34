from __future__ import annotations

import pytest

from soci.ztoc.paths import clean_path


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        (b"a", b"/a"),
        (b"./a", b"/a"),
        (b"/a", b"/a"),
        (b"//a", b"/a"),
        (b"///a", b"/a"),
        (b"a/", b"/a"),
        (b"a//b", b"/a/b"),
        (b"a/./b", b"/a/b"),
        (b"a/../b", b"/b"),
        (b"../../b", b"/b"),
        (b".", b"/"),
        (b"./", b"/"),
        (b"", b"/"),
        (b"..", b"/"),
        (b"\xff/\n", b"/\xff/\n"),
        (b"...", b"/..."),
    ],
)
def test_a_path_is_cleaned_from_the_root(name, cleaned):
    assert clean_path(name) == cleaned
