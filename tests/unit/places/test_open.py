from __future__ import annotations

import pytest

from soci.errors import InvalidReference, StorageError
from soci.oci.digest import digest_of
from soci.oci.reference import parse_reference
from soci.places.layout.docker_archive import DockerArchive
from soci.places.layout.oci_archive import OciArchive
from soci.places.layout.oci_layout import OciLayout
from soci.places.open import open_sink, open_source, open_store
from soci.places.registry.repository import RegistryRepository
from tests.image_files import Image, tar_of, write_layout

IMAGE = Image(layers=())


@pytest.mark.parametrize(
    ("transport", "kind"),
    [("oci", OciLayout), ("oci-archive", OciArchive), ("docker-archive", DockerArchive)],
)
def test_each_transport_has_its_source(tmp_path, transport, kind):
    path = write_layout(tmp_path / "x", IMAGE)
    if transport != "oci":
        path = tmp_path / "x.tar"
        path.write_bytes(tar_of({"a": b""}))

    assert isinstance(open_source(parse_reference(f"{transport}:{path}")), kind)


def test_tag_and_digest_select_the_image(tmp_path):
    write_layout(tmp_path, IMAGE, tag="t")

    for suffix in (":t", f"@{IMAGE.root.digest}", ""):
        assert (
            open_source(parse_reference(f"oci:{tmp_path}{suffix}")).fetch_root().digest == IMAGE.root.digest
        )


@pytest.mark.parametrize("transport", ["oci", "oci-archive", "docker-archive"])
def test_a_missing_path_is_refused(tmp_path, transport):
    with pytest.raises(StorageError, match="absent: No such file or directory"):
        open_source(parse_reference(f"{transport}:{tmp_path}/absent:1"))


def test_a_layout_is_created_by_the_first_push(tmp_path):
    sink = open_sink(parse_reference(f"oci:{tmp_path}/new:t"))

    assert not (tmp_path / "new").exists()
    sink.push_manifest(IMAGE.root, IMAGE.manifest)
    sink.push_root(IMAGE.root, "t")
    assert open_source(parse_reference(f"oci:{tmp_path}/new:t")).fetch_root().digest == IMAGE.root.digest


@pytest.mark.parametrize("text", ["oci-archive:a.tar:1", "docker-archive:a.tar:app:1"])
def test_archives_are_no_destination(text):
    with pytest.raises(
        InvalidReference, match=f"{text}: archives are read only; write to a directory, oci:DIR"
    ):
        open_sink(parse_reference(text))


def test_a_digest_is_no_destination(tmp_path):
    with pytest.raises(InvalidReference, match="a destination has a tag or nothing"):
        open_sink(parse_reference(f"oci:{tmp_path}@{digest_of(b'')}"))


def test_a_directory_with_other_files_is_refused_before_any_work(tmp_path):
    (tmp_path / "mine.txt").write_text("x")

    with pytest.raises(StorageError, match="nothing is written"):
        open_sink(parse_reference(f"oci:{tmp_path}:t"))


@pytest.mark.parametrize("opener", [open_source, open_store, open_sink])
def test_each_reference_has_its_place(tmp_path, opener):
    write_layout(tmp_path, Image(layers=()))

    assert isinstance(opener(parse_reference(f"oci:{tmp_path}:latest")), OciLayout)
    assert isinstance(opener(parse_reference("localhost:5000/app:1")), RegistryRepository)


def test_a_digest_is_no_destination_in_a_registry_either():
    with pytest.raises(InvalidReference, match="a destination has a tag or nothing"):
        open_sink(parse_reference(f"localhost:5000/app@{digest_of(b'')}"))
