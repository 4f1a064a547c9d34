"""Which documents of an index a removal deletes, keeps and reports."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from local.registry import Answer, Behaviour, Registry
from soci.build.recipe import convert, create_index
from soci.image.documents import Platforms, fetch_image
from soci.index.document import document_of
from soci.oci import media_types
from soci.oci.annotations import CONTAINERD_IMAGE_NAME, SOCI_INDEX_DIGEST
from soci.oci.digest import Digest
from soci.places.layout.oci_layout import OciLayout
from soci.upkeep.remove import TaggedSource, Target, fetch_removal, remove_index
from tests.builders import Image, file, gzip_of, image_of, layout_of, multi_platform, noise, tar_of
from tests.recipes import run
from tests.unit.service.places import InMemory

AMD64, ARM64 = (
    image_of(gzip_of(tar_of(file(name, noise(100_000, name)))), platform=f"linux/{name}")
    for name in ("amd64", "arm64")
)
IMAGE = multi_platform(AMD64, ARM64)


@pytest.fixture
def place():
    with Registry(Behaviour(rates={})) as registry:
        place = InMemory(registry=registry)
        place.put("app", IMAGE, "1.0")
        yield place


def index(place: InMemory, *platforms: str) -> None:
    store = place("app", "1.0")
    run(convert, store, store, tag="1.0-soci", platforms=platforms or Platforms.ALL)


def target(place: InMemory) -> Target:
    store = place("app", "1.0")
    converted = TaggedSource(source=place("app", "1.0-soci"), tag="1.0-soci")
    return Target(store=store, image=fetch_image(store), tag="1.0", converted=converted)


def blobs_of(image: Image) -> set[Digest]:
    manifest = json.loads(image.document)
    return {Digest.parse(blob["digest"]) for blob in (manifest["config"], *manifest["layers"])}


def test_the_blobs_of_the_image_itself_are_kept(place):
    index(place)

    blobs = fetch_removal(target(place)).blobs

    assert blobs
    assert not set(blobs) & (blobs_of(AMD64) | blobs_of(ARM64))


def test_own_manifests_in_the_converted_image_are_not_reported_as_kept(place):
    index(place, "linux/amd64")  # the manifest for arm64 stays as it is
    place.registry.repository("app").tags["stable"] = str(IMAGE.root.digest)

    removal = fetch_removal(target(place))

    assert ARM64.root.digest not in {one.digest for one in removal.manifests}
    assert removal.still_referenced == {}


def test_a_version_1_index_of_the_converted_image_is_deleted_with_it(place):
    before = set(place.registry.repository("app").manifests)
    index(place)
    store = place("app", "1.0-soci")
    run(create_index, store, store, tag=None)
    assert len(fetch_removal(target(place)).subjects) == 2

    assert remove_index(target(place), fetch_removal(target(place))).is_done

    assert set(place.registry.repository("app").manifests) == before


def test_an_index_without_image_manifests_is_not_taken_for_the_converted_image(place):
    entry = {"mediaType": media_types.OCI_MANIFEST, "digest": "sha256:" + "7f" * 32, "size": 2}
    document = {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_INDEX,
        "manifests": [{**entry, "artifactType": media_types.SOCI_INDEX_V2}],
    }
    data = json.dumps(document).encode()
    place.registry.repository("app").put_manifest(data, media_types.OCI_INDEX, tag="1.0-soci")

    assert fetch_removal(target(place)).is_empty


def test_the_converted_image_of_another_image_is_kept(place):
    place.put("app", AMD64, "2.0")
    store = place("app", "2.0")
    run(convert, store, store, tag="2.0-soci")
    there = place.registry.repository("app")
    there.tags["1.0-soci"] = there.tags.pop("2.0-soci")
    there.tags["1.0"] = str(ARM64.root.digest)

    assert fetch_removal(target(place)).is_empty


def test_only_other_tags_are_reported_as_losing_a_version_1_index(place):
    store = place("app", "1.0")
    run(create_index, store, store, tag=None)
    place.registry.repository("app").tags["stable"] = str(IMAGE.root.digest)

    assert fetch_removal(target(place)).shared_with == ("stable",)


def test_nothing_is_deleted_after_an_index_that_the_registry_keeps(place):
    index(place)
    there = place.registry.repository("app")
    root, before = there.tags["1.0-soci"], set(there.manifests)
    place.registry.fail(
        Answer(403), where=lambda seen: seen.method == "DELETE" and seen.path.endswith(root), times=None
    )

    result = remove_index(target(place), fetch_removal(target(place)))

    assert [str(one.digest) for one in result.refused] == [root]
    assert before <= set(there.manifests)


def test_an_interrupted_removal_of_another_tag_is_not_resumed(place):
    index(place)
    there = place.registry.repository("app")
    root = there.tags["1.0-soci"]
    place.registry.fail(
        Answer(403), where=lambda seen: seen.method == "DELETE" and seen.path.endswith(root), times=None
    )
    remove_index(target(place), fetch_removal(target(place)))
    place.registry.heal()
    there.tags["2.0"] = there.tags["1.0"]
    store = place("app", "2.0")

    assert fetch_removal(target(place)).interrupted
    assert not fetch_removal(Target(store=store, image=fetch_image(store), tag="2.0")).interrupted


def test_an_entry_found_by_its_full_name_counts_as_own(tmp_path):
    layout = Path(layout_of(tmp_path, AMD64))
    store = OciLayout(layout, tag="latest")
    run(convert, store, store, tag="latest")
    name = "docker.io/library/app:1.0"
    document = json.loads((layout / "index.json").read_text())
    [entry] = document["manifests"]
    entry["annotations"][CONTAINERD_IMAGE_NAME] = name
    (layout / "index.json").write_text(json.dumps(document))
    store = OciLayout(layout, tag=name)
    image = fetch_image(store)

    removal = fetch_removal(Target(store=store, image=image, tag=name))

    assert SOCI_INDEX_DIGEST in image.images[0].manifest.annotations
    assert removal.still_referenced == {}
    assert image.root.digest in {one.digest for one in removal.manifests}


def test_an_untagged_entry_of_a_layout_keeps_what_it_leads_to(tmp_path):
    layout = layout_of(tmp_path, AMD64)
    store = OciLayout(layout, tag="latest")
    run(convert, store, store, tag="latest-soci")
    converted = OciLayout(layout, tag="latest-soci")
    root = converted.fetch_root()
    document = json.loads(converted.fetch_manifest(root)) | {"annotations": {"another": "index"}}
    other = document_of(root.media_type, json.dumps(document).encode())
    store.push_manifest(other.descriptor, other.data)
    store.push_root(other.descriptor, None)

    source = TaggedSource(source=converted, tag="latest-soci")
    removal = fetch_removal(Target(store=store, image=fetch_image(store), tag="latest", converted=source))

    assert [one.digest for one in removal.manifests] == [root.digest]
    assert set(removal.still_referenced.values()) == {(str(other.descriptor.digest),)}
