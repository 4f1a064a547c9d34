from __future__ import annotations

import ast
import statistics

from tests.architecture.source import ROOT, all_modules, core_modules

MAX_MODULE_LINES = 400
MEDIAN_MODULE_LINES = 150
MAX_FUNCTION_LINES = 70
VAGUE_NAMES = {"common", "helpers", "misc", "util", "utils"}


def test_a_module_can_be_read_in_one_sitting():
    lines = {str(module.path): (ROOT / module.path).read_text().count("\n") for module in all_modules()}

    assert {path: count for path, count in lines.items() if count > MAX_MODULE_LINES} == {}


def test_most_modules_of_the_core_are_short():
    lines = [(ROOT / module.path).read_text().count("\n") for module in core_modules()]

    assert statistics.median(lines) < MEDIAN_MODULE_LINES


def test_a_function_can_be_seen_at_once():
    long = [
        f"{module.path}:{node.lineno} {node.name}: {count} lines"
        for module in all_modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef)
        and (count := (node.end_lineno or 0) - node.lineno + 1) > MAX_FUNCTION_LINES
    ]

    assert long == []


def test_the_name_of_a_module_says_what_it_holds():
    vague = [module.path for module in all_modules() if VAGUE_NAMES & set(module.path.with_suffix("").parts)]

    assert vague == []


def test_only_the_cli_writes_to_the_terminal():
    prints = [
        f"{module.path}:{node.lineno}"
        for module in core_modules()
        if not module.name.startswith("soci.cli.")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]

    assert prints == []
