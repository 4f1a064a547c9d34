"""The pages of decisions: one form, one decision each, all of them listed."""

from __future__ import annotations

import re

import pytest

from tests.docs.manual import DOCS

DECISIONS = DOCS / "adr"
PAGES = sorted(DECISIONS.glob("[0-9]*.md"))
SECTIONS = ["Context", "Decision", "Consequences"]
STATUS = r"accepted(; differs from the owner)?|replaced by \d{4}"


def faults(name: str, text: str) -> list[str]:
    """What is wrong with a page of this name."""
    number = name[:4]
    found = []
    if not re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", name):
        found.append("name")
    if not re.match(rf"# {number} \S", text):
        found.append("title")
    status = re.findall(r"^Status: (.+)$", text, re.MULTILINE)
    if len(status) != 1 or not re.fullmatch(STATUS, status[0]):
        found.append("status")
    if re.findall(r"^## (.+)$", text, re.MULTILINE) != SECTIONS:
        found.append("sections")
    return found


def row(name: str, text: str) -> str:
    """A page's row in the list."""
    title, status = re.findall(r"^# \d{4} (.+)$|^Status: (.+)$", text, re.MULTILINE)[:2]
    return f"| [{name[:4]}]({name}) | {title[0]} | {status[1]} |"


def test_every_page_has_a_number_a_title_a_status_and_one_decision():
    assert {page.name: found for page in PAGES if (found := faults(page.name, page.read_text()))} == {}


def test_numbers_follow_upon_each_other():
    assert [int(page.name[:4]) for page in PAGES] == list(range(1, len(PAGES) + 1))


def test_every_page_is_listed_with_its_status():
    listed = [line for line in (DECISIONS / "README.md").read_text().splitlines() if line.startswith("| [")]

    assert listed == [row(page.name, page.read_text()) for page in PAGES]


SOUND = "# 0001 Title\n\nStatus: accepted\n\n## Context\n\n## Decision\n\n## Consequences\n"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("0001-a.md", SOUND, []),
        ("1-a.md", SOUND, ["name", "title"]),
        ("0002-a.md", SOUND, ["title"]),
        ("0001-a.md", SOUND.replace("Status: accepted", ""), ["status"]),
        ("0001-a.md", SOUND.replace("accepted", "maybe"), ["status"]),
        ("0001-a.md", SOUND.replace("## Decision", "## Decision\n\n## Decision"), ["sections"]),
    ],
    ids=["sound", "name", "number", "no status", "unknown status", "two decisions"],
)
def test_a_fault_of_a_page_is_found(name, text, expected):
    assert faults(name, text) == expected


def test_every_decision_that_the_code_names_exists():
    numbers = {page.name[:4] for page in PAGES}
    named = {
        (str(path), number)
        for folder in ("layers/soci/python", "infra", "local", "lambdas", "tests")
        for path in (DOCS.parent / folder).rglob("*.py")
        for number in re.findall(r"docs/adr/(\d{4})", path.read_text())
    }

    assert named
    assert {one for one in named if one[1] not in numbers} == set()
