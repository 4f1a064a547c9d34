"""Cached zTOCs are reused only if the engine would build them again: other bytes need another output version."""

from __future__ import annotations

import hashlib

import pytest

from soci.build.reuse import GOLDEN_OUTPUT, OUTPUT_VERSION
from tests.builders import index_layer
from tests.golden.test_layers import ACCEPTED, SPAN_SIZES, index, read
from tests.golden.test_vectors import VECTORS

WHAT_TO_DO = (
    "the same layers and settings give other zTOCs than before: raise OUTPUT_VERSION in soci/build/reuse.py, so that "
    "kept zTOCs are no longer used, and put {found} into GOLDEN_OUTPUT. (If golden layers were added, do the second "
    "alone.)"
)


def digests_now() -> list[str]:
    """Of all golden layers with all span sizes, as they are made now."""
    vectors = [
        str(index_layer(layer, span_size_bytes=span_size_bytes).digest)
        for layer, span_size_bytes, *_ in VECTORS.values()
    ]
    layers = [
        f"{hashlib.sha256(read(name)).hexdigest()} {size} {index(name, span_size_bytes=size).digest}"
        for name in ACCEPTED
        for size in SPAN_SIZES
    ]
    return [*vectors, *layers]


@pytest.fixture(scope="module")
def found() -> str:
    return hashlib.sha256("\n".join(digests_now()).encode()).hexdigest()


def test_other_bytes_have_another_output_version(found):
    version, recorded = GOLDEN_OUTPUT

    assert found == recorded, WHAT_TO_DO.format(found=found)
    assert version == OUTPUT_VERSION, "GOLDEN_OUTPUT is of another version: put in what that version makes"
