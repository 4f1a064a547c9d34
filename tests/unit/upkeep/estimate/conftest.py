from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.service.places import InMemory, in_memory


@pytest.fixture
def memory() -> Iterator[InMemory]:
    with in_memory() as place:
        yield place
