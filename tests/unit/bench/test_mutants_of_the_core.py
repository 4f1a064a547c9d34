"""Mutants of the real core; nothing of it is changed here."""

from __future__ import annotations

import os
import subprocess
import sys

from bench import mutants
from tests.architecture.source import ROOT


def test_the_tests_of_a_module_are_the_file_that_mirrors_it_and_then_its_folder():
    tests = mutants.tests_of(ROOT / "layers/soci/python/soci/build/plan.py")

    assert tests == [ROOT / "tests/unit/build/test_plan.py", ROOT / "tests/unit/build"]


def test_make_lists_the_changes_of_a_named_module():
    make = ["make", "--no-print-directory", "-o", "venv", "mutants", "MODULE=soci.build.plan", "ARGS=--list"]
    environment = os.environ | {"VENV": sys.prefix}

    done = subprocess.run(make, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "soci/build/plan.py compare" in done.stdout
