"""All pages of the manual: their links lead somewhere, and the modules that they name exist."""

from __future__ import annotations

import pytest

from tests.docs.manual import ROOT, anchors, broken_links, unknown_files

PAGES = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/**/*.md"),
    ROOT / "lambdas/README.md",
    ROOT / "tests/golden/README.md",
]
FOLDERS = ("layers/soci/python", "infra", "lambdas", "local", "bench", "docs", "tests")
FILES = [
    str(path.relative_to(ROOT))
    for path in (*ROOT.glob("*.py"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")))
]


def test_every_link_leads_somewhere():
    broken = {str(page): found for page in PAGES if (found := broken_links(page))}

    assert broken == {}


def test_every_module_that_a_page_names_exists():
    unknown = {
        str(page): found
        for page in PAGES
        if page.name != "CHANGELOG.md" and (found := unknown_files(page, FILES))
    }

    assert unknown == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("`a/b.py`, b.py and `soci.a.b` and `soci.a`", []),
        ("`gone.py`", ["gone.py"]),
        ("`x/b.py`", ["x/b.py"]),
        ("`soci.a.gone`", ["soci/a/gone.py"]),
        ("the source `soci.index-builder`", []),
    ],
    ids=["known", "file", "folder", "module", "event source"],
)
def test_a_name_of_no_file_is_found(tmp_path, text, expected):
    page = tmp_path / "page.md"
    page.write_text(text)

    assert unknown_files(page, ["core/soci/a/__init__.py", "core/soci/a/b.py"]) == expected


def test_a_link_to_nothing_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# Here\n[a](#here) [b](#gone) [c](gone.md) [d](https://example.com/) [e](page.md#here)\n"
    )

    assert broken_links(page) == ["#gone", "gone.md"]
    assert anchors(page.read_text()) == {"here"}
