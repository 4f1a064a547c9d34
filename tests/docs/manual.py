"""The manual's pages as data: their blocks of code under the headings they stand below, their links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Code between fences."""

    heading: str
    language: str
    text: str


def blocks(page: str, language: str) -> list[Block]:
    """The blocks of a page in one language, in their order."""
    return [block for block in _blocks((DOCS / page).read_text()) if block.language == language]


def _blocks(text: str) -> Iterator[Block]:
    heading = ""
    for found in re.finditer(r"^#+ ([^\n]+)$|^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if found[1]:
            heading = found[1]
        else:
            yield Block(heading=heading, language=found[2], text=found[3])


def anchors(text: str) -> set[str]:
    """What links into a page can name, as GitHub makes it of headings."""
    without_code = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", without_code, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: str) -> list[str]:
    """Links of a page to files or headings that are not there."""
    text = (DOCS / page).read_text()
    broken = []
    for target in re.findall(r"\]\(([^)]+)\)", text):
        file, _, anchor = target.partition("#")
        if re.match(r"https?:", file):
            continue
        path = (DOCS / file).resolve() if file else DOCS / page
        if not path.exists() or (anchor and anchor not in anchors(path.read_text())):
            broken.append(target)
    return broken
