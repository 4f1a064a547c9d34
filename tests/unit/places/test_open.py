from __future__ import annotations

import pytest

from soci.errors import InvalidReference
from soci.oci.digest import digest_of
from soci.oci.reference import parse_reference
from soci.places.layout.oci_layout import OciLayout
from soci.places.open import open_sink, open_source, open_store
from soci.places.registry.repository import RegistryRepository
from tests.image_files import Image, write_layout


@pytest.mark.parametrize("opener", [open_source, open_store, open_sink])
def test_each_reference_has_its_place(tmp_path, opener):
    write_layout(tmp_path, Image(layers=()))

    assert isinstance(opener(parse_reference(f"oci:{tmp_path}:latest")), OciLayout)
    assert isinstance(opener(parse_reference("localhost:5000/app:1")), RegistryRepository)


def test_a_digest_is_no_destination_in_a_registry_either():
    with pytest.raises(InvalidReference, match="a destination has a tag or nothing"):
        open_sink(parse_reference(f"localhost:5000/app@{digest_of(b'')}"))
