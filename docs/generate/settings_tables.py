"""The tables of docs/settings.md, made from the declarations of the settings."""

from __future__ import annotations

from pathlib import Path

from infra.config import Deployment
from soci.service.settings.configuration import Configuration
from soci.service.settings.schema import describe, markdown_table

SETTINGS_PAGE = Path(__file__).parents[1] / "settings.md"
SECTIONS = {"settings": Configuration, "deployment": Deployment}


def with_tables(text: str) -> str:
    """Return the text with the table of each section between its markers.

    Raises:
        ValueError: a marker is missing.
    """
    for name, section in SECTIONS.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"no {begin.strip()} or no {end.strip()} in the text")
        text = f"{before}{begin}\n{markdown_table(describe(section, name))}\n{end}{after}"
    return text
