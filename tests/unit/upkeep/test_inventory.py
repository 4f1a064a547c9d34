from __future__ import annotations

import pytest

from soci.errors import InvalidReference
from soci.places.registry.connect import connect
from soci.upkeep.inventory import Inventory


@pytest.mark.parametrize("reference", ["sha256:1", "md5:" + "0" * 32, "a b", ""])
def test_an_image_is_not_opened_by_a_malformed_tag_or_digest(reference):
    with pytest.raises(InvalidReference):
        Inventory(connect("localhost:1")).open_image("app", reference)
