from __future__ import annotations

import ast
import inspect
from importlib.metadata import version

import pytest

from local.system.moto_parser import REPLACED, VERSION
from tests.architecture.source import ROOT

WHAT_TO_DO = f"""
local/system runs state machines in moto's private interpreter and replaces parts of it, those of moto {VERSION}.
To move to another version:
1. Compare moto/stepfunctions/parser of both versions, at least the parts in REPLACED of local/system/moto_parser.py.
2. Adapt local/system/moto_parser.py, then the hooks in interpreter.py and maps.py.
3. Run tests/unit/local/system and tests/e2e: they cover retries, maps, redrives and timeouts.
4. Set VERSION in local/system/moto_parser.py and the pin in requirements-dev.txt, then `make lock`.
Until then, pin moto=={VERSION}.
"""


def test_moto_is_the_version_that_was_tried():
    assert version("moto") == VERSION, WHAT_TO_DO
    assert f"stepfunctions]=={VERSION}" in (ROOT / "requirements-dev.txt").read_text(), WHAT_TO_DO


@pytest.mark.parametrize(("owner", "name"), REPLACED.values(), ids=REPLACED)
def test_moto_still_has_every_part_that_is_replaced(owner, name):
    assert inspect.getattr_static(owner, name, None) is not None, (
        f"{owner.__name__}.{name} is gone.{WHAT_TO_DO}"
    )


def test_only_one_module_imports_the_private_interpreter():
    importing = {
        str(path.relative_to(ROOT))
        for folder in ("local", "tests", "bench", "infra", "lambdas", "layers")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("moto.stepfunctions")
    }

    assert importing == {"local/system/moto_parser.py"}
