"""The pages of the manual as data: blocks of code with their headings, links, names of files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block of code, and the heading above it."""

    heading: str
    language: str
    text: str


def blocks(page: str, language: str) -> list[Block]:
    """Return the blocks of a page in one language, in order."""
    return [block for block in _blocks((DOCS / page).read_text()) if block.language == language]


def _blocks(text: str) -> Iterator[Block]:
    heading = ""
    for found in re.finditer(r"^#+ ([^\n]+)$|^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if found[1]:
            heading = found[1]
        else:
            yield Block(heading=heading, language=found[2], text=found[3])


def anchors(text: str) -> set[str]:
    """Return the anchors of a page, as GitHub makes them from headings."""
    without_code = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", without_code, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    """Return the links of a page to files or headings that do not exist."""
    broken = []
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        file, _, anchor = target.partition("#")
        if re.match(r"https?:", file):
            continue
        path = page.parent / file if file else page
        if not path.exists() or (anchor and anchor not in anchors(path.read_text())):
            broken.append(target)
    return broken


def unknown_files(page: Path, known: Iterable[str]) -> list[str]:
    """Return the Python files and modules of the core that a page names and that do not exist.

    `known` are paths in the project.
    """
    text = page.read_text()
    named = set(re.findall(r"(?<!\w)\w[\w/]*\.py\b", text))
    named |= {f"{name.replace('.', '/')}.py" for name in re.findall(r"`(soci(?:\.[a-z_0-9]+)+)`", text)}
    ends = {f"/{path}" for path in known}
    return sorted(
        name
        for name in named
        if not any(end.endswith((f"/{name}", f"/{name.removesuffix('.py')}/__init__.py")) for end in ends)
    )
