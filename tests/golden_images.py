"""The golden images with the cases of each: what the format's owner made of them, by settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

GOLDEN_IMAGES = Path(__file__).parent / "golden" / "images"
EXPECTED: dict[str, Any] = json.loads((GOLDEN_IMAGES / "expected.json").read_text())

Case = dict[str, Any]
CASES: list[tuple[str, Case]] = [(name, case) for name, image in EXPECTED.items() for case in image["cases"]]


def case_id(value: object) -> str:
    """Return the id of an image's name or of a case, for pytest."""
    if isinstance(value, str):
        return value
    assert isinstance(value, dict)
    extras = [*value["optimizations"], *(["prefetch"] if value["prefetch"] else [])]
    words = [value["version"], value["platform"].replace("/", "-"), str(value["min_layer_size"]), *extras]
    return " ".join(words)
