from __future__ import annotations

import ast

import pytest

from tests.architecture.source import ROOT, all_modules, core_modules

MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 70
VAGUE_NAMES = {"common", "helpers", "misc", "util", "utils"}

each_module = pytest.mark.parametrize("module", all_modules(), ids=lambda module: str(module.path))


@each_module
def test_a_module_can_be_read_in_one_sitting(module):
    lines = (ROOT / module.path).read_text().count("\n")

    assert lines <= MAX_MODULE_LINES


@each_module
def test_a_function_can_be_seen_at_once(module):
    functions = [node for node in ast.walk(module.tree) if isinstance(node, ast.FunctionDef)]
    long = {f.name: n for f in functions if (n := (f.end_lineno or 0) - f.lineno + 1) > MAX_FUNCTION_LINES}

    assert not long


@each_module
def test_the_name_of_a_module_says_what_it_holds(module):
    assert not VAGUE_NAMES & set(module.path.with_suffix("").parts)


@pytest.mark.parametrize("module", core_modules(), ids=lambda module: module.name)
def test_only_the_cli_writes_to_the_terminal(module):
    calls = [node.func for node in ast.walk(module.tree) if isinstance(node, ast.Call)]
    prints = [func.lineno for func in calls if isinstance(func, ast.Name) and func.id == "print"]

    assert not prints or module.part == "cli"
