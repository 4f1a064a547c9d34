"""The page on architecture: its table is the import policy, and its flows pass modules that exist."""

from __future__ import annotations

import re

from tests.architecture.source import CORE, ROOT
from tests.architecture.test_layers import MAY_IMPORT
from tests.docs.manual import DOCS

TEXT = (DOCS / "architecture.md").read_text()
TREE = TEXT.partition("\n## The tree\n")[2].partition("\n## ")[0]
FLOWS = dict(
    re.findall(
        r"^### ([^\n]+)\n(.*?)(?=^##)", TEXT.partition("\n## Three flows\n")[2], re.MULTILINE | re.DOTALL
    )
)
MAX_HOPS = {"A layer": 12, "An event": 11, "`convert`": 14}
MAX_LINES = 40
"""Of a flow: it can be seen at once."""


def hops(flow: str) -> list[str]:
    return re.findall(r"^\d+\. `([^`]+)`", flow, re.MULTILINE)


def test_the_table_of_parts_is_the_import_policy():
    rows = re.findall(r"^\| `([\w.]+)` \| .*? \| ([^|]*) \|$", TREE, re.MULTILINE)

    assert {part: set(re.findall(r"`([\w.]+)`", below)) for part, below in rows} == MAY_IMPORT
    assert [part for part, _ in rows] == list(MAY_IMPORT)


def test_every_flow_passes_modules_that_exist_each_once_and_few():
    assert [name.partition(",")[0] for name in FLOWS] == list(MAX_HOPS)
    for flow, most in zip(FLOWS.values(), MAX_HOPS.values(), strict=True):
        passed = hops(flow)
        assert [one for one in passed if not ((CORE / "soci" / one).exists() or (ROOT / one).exists())] == []
        assert len(set(passed)) == len(passed)
        assert 0 < len(passed) <= most
        assert flow.count("\n") <= MAX_LINES


def test_every_package_of_the_core_is_in_the_tree():
    packages = {path.parent.name for path in (CORE / "soci").glob("*/__init__.py")}

    assert packages <= set(re.findall(r"\b(\w+)/", TREE))
