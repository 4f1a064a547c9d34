"""Fixtures: the two kinds of registry that decisions are tested on."""

from __future__ import annotations

import pytest

from tests.unit.service.places import InMemory, Layouts, in_memory


@pytest.fixture
def layouts(tmp_path) -> Layouts:
    return Layouts(directory=tmp_path / "registry")


@pytest.fixture
def memory():
    with in_memory() as place:
        yield place


@pytest.fixture(params=["layouts", "memory"])
def place(request) -> Layouts | InMemory:
    """The same images on disk and behind HTTP."""
    chosen: Layouts | InMemory = request.getfixturevalue(request.param)
    return chosen
