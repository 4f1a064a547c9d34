"""The handlers of the functions, as modules that a test loads for itself, and the lines that they log."""

from __future__ import annotations

import importlib.util
import io
import json
import logging
from collections.abc import Callable
from types import ModuleType
from typing import Any

from tests.architecture.source import ROOT


def load_handler(function: str) -> ModuleType:
    """Load the handler of a function as a new module, as each process of Lambda does."""
    spec = importlib.util.spec_from_file_location(function, ROOT / "lambdas" / function / "handler.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def capture_log(handler: ModuleType) -> Callable[[], list[Any]]:
    """Send what a handler logs to memory; the function that is returned gives the lines so far, parsed."""
    written = io.StringIO()
    for one in handler.logger.handlers:
        assert isinstance(one, logging.StreamHandler)
        one.setStream(written)
    return lambda: [json.loads(line) for line in written.getvalue().splitlines()]
