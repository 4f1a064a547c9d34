"""What we push into registries, read by skopeo, and equal to what the same recipe makes in a layout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from local.registry import Behaviour, Registry
from soci.build.recipe import convert, create_index
from soci.build.tagging import TagLeftAlone
from soci.image.copy import copy_trees
from soci.image.indexed import open_image
from soci.oci import media_types
from soci.oci.digest import digest_of
from soci.oci.platform import Platform
from soci.oci.reference import RegistryRef, parse_reference
from soci.places.layout.oci_layout import OciLayout
from soci.places.open import open_sink, open_source, open_store
from soci.places.registry.blob_upload import parts_of
from soci.verify import verify_image
from tests.builders import describe, file, gzip_of, image_of, layout_of, multi_platform, noise, tar_of, text
from tests.golden_images import GOLDEN_IMAGES
from tests.image_files import skopeo, skopeo_copy
from tests.recipes import CONVERTED, Watcher, entries_in, run
from tests.registries import REGISTRIES, open_repository, running_registry

SMALL = gzip_of(tar_of(file("bin/sh", b"#!"), file("etc/hosts", b"127.0.0.1 localhost\n")))
LARGE = gzip_of(tar_of(file("data", noise(900_000)), file("notes", text(500_000))))
IMAGE = multi_platform(image_of(SMALL, LARGE), image_of(LARGE, platform="linux/arm64"))
MOVED = image_of(SMALL)


@pytest.fixture(scope="module", params=REGISTRIES)
def host(request, tmp_path_factory):
    with running_registry(request.param, tmp_path_factory.mktemp("registry")) as host:
        yield host


@pytest.fixture
def name(host, request, tmp_path) -> str:
    """A repository of the test's own, with the image that skopeo has put there."""
    name = f"{host}/test-{abs(hash(request.node.name))}/app"
    skopeo_copy(f"oci:{layout_of(tmp_path / 'image', IMAGE)}", f"{name}:1.0")
    return name


@pytest.fixture
def layout(tmp_path) -> Path:
    return layout_of(tmp_path / "layout", IMAGE)


def in_layout(recipe, layout: Path, **options):
    place = OciLayout(layout, tag="latest")
    return run(recipe, place, place, **options)


def raw(reference: str) -> bytes:
    return skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{reference}").encode()


@pytest.mark.parametrize(
    "image",
    ["oci-single-arm64", "oci-index-two-platforms", "oci-index-with-attestation", "docker-manifest-list"],
)
def test_skopeo_copies_an_image_that_we_copied_with_every_digest(host, tmp_path, image):
    source = OciLayout(GOLDEN_IMAGES / image)
    sink = open_sink(parse_reference(f"{host}/copied/{image}"))
    root = source.fetch_root()
    copy_trees(source, sink, (root,))
    sink.push_root(root, "1.0")

    skopeo_copy(f"{host}/copied/{image}:1.0", f"dir:{tmp_path / 'theirs'}")

    assert (tmp_path / "theirs/manifest.json").read_bytes() == source.fetch_manifest(root)


def test_a_converted_image_is_the_same_as_in_a_layout_and_skopeo_copies_it(name, layout, tmp_path):
    place = open_store(parse_reference(f"{name}:1.0"))
    result = run(convert, place, place)
    expected = in_layout(convert, layout)

    assert result.root == expected.root
    assert (result.tag, result.tag_left_alone) == (CONVERTED, None)
    assert raw(f"{name}:{CONVERTED}") == OciLayout(layout, tag=CONVERTED).fetch_manifest(expected.root)
    # Without --preserve-digests: skopeo 1.9 drops the artifact type of an entry from the index that it writes.
    skopeo(
        "copy", "--all", "--src-tls-verify=false", f"docker://{name}:{CONVERTED}", f"dir:{tmp_path / 'copy'}"
    )
    copied = {digest_of(path.read_bytes()) for path in (tmp_path / "copy").iterdir()}
    assert {entry.digest for entry in entries_in(layout)} <= copied


def test_a_converted_image_in_a_registry_passes_every_check(name):
    place = open_store(parse_reference(f"{name}:1.0"))
    run(convert, place, place)

    assert (
        verify_image(open_source(parse_reference(f"{name}:{CONVERTED}")), compare_files=True).findings == ()
    )


def test_an_index_of_version_1_is_the_same_as_in_a_layout_and_is_found_by_its_subject(name, layout):
    place = open_store(parse_reference(f"{name}:1.0"))
    results = run(create_index, place, place, tag=None).platforms
    expected = in_layout(create_index, layout, tag=None).platforms

    assert [one.index for one in results] == [one.index for one in expected]
    for one in results:
        assert one.index is not None
        found = open_source(parse_reference(f"{name}:1.0"))
        image = open_image(found, Platform.parse(str(one.image.platform)))
        assert image.soci_index is not None
        assert image.soci_index.digest == one.index.descriptor.digest
        assert all(layer.ztoc for layer in image.layers)


def test_a_second_run_changes_nothing(name):
    roots = []
    for _ in range(2):
        place = open_store(parse_reference(f"{name}:1.0"))
        roots.append((run(convert, place, place).root, run(create_index, place, place, tag=None).root))

    assert roots[0] == roots[1]


def test_an_image_is_converted_from_a_layout_to_a_registry_and_back(host, layout, tmp_path):
    source = OciLayout(layout, tag="latest")
    there = open_sink(parse_reference(f"{host}/from-layout/app"))
    result = run(convert, source, there)
    back = OciLayout(tmp_path / "back")
    again = run(convert, open_source(parse_reference(f"{host}/from-layout/app:{CONVERTED}")), back)

    assert result.root == again.root == in_layout(convert, layout).root
    assert verify_image(OciLayout(tmp_path / "back", tag=CONVERTED)).findings == ()


def test_an_image_is_converted_from_one_repository_to_another(name, host):
    source = open_source(parse_reference(f"{name}:1.0"))
    result = run(convert, source, open_sink(parse_reference(f"{host}/elsewhere/app")))

    assert result.tag == CONVERTED
    assert verify_image(open_source(parse_reference(f"{host}/elsewhere/app:{CONVERTED}"))).findings == ()


def test_a_tag_whose_source_moves_meanwhile_is_left_alone(name, tmp_path):
    place = open_store(parse_reference(f"{name}:1.0"))

    class Mover(Watcher):
        """Somebody who pushes another image while the first one is indexed."""

        def finish(self, layer):
            other = OciLayout(layout_of(tmp_path / f"moved-{layer.digest.hex[:8]}", MOVED))
            theirs = open_sink(parse_reference(name))
            copy_trees(other, theirs, (other.fetch_root(),))
            theirs.push_root(other.fetch_root(), "1.0")

    result = run(convert, place, place, jobs=1, progress=Mover())

    assert result.tag is None
    assert result.tag_left_alone is TagLeftAlone.SOURCE_MOVED
    assert result.root is not None
    repository = open_repository(RegistryRef(host=name.partition("/")[0], repository=name.partition("/")[2]))
    assert list(repository.fetch_tags()) == ["1.0"]
    assert json.loads(raw(f"{name}@{result.root.digest}"))["manifests"]


def test_an_immutable_output_tag_stays_and_the_image_exists_by_digest(tmp_path):
    other = OciLayout(layout_of(tmp_path / "other", MOVED))
    with Registry(Behaviour(rates={}, immutable_tags=True)) as registry:
        name = f"{registry.host}/app"
        skopeo_copy(f"oci:{layout_of(tmp_path / 'image', IMAGE)}:latest", f"{name}:1.0")
        theirs = open_sink(parse_reference(name))
        copy_trees(other, theirs, (other.fetch_root(),))
        theirs.push_root(other.fetch_root(), CONVERTED)
        place = open_store(parse_reference(f"{name}:1.0"))

        result = run(convert, place, place)
        assert result.root is not None
        published = verify_image(open_source(parse_reference(f"{name}@{result.root.digest}")))
        tagged = registry.repository("app").tags[CONVERTED]

    assert (result.tag, result.tag_left_alone) == (None, TagLeftAlone.IMMUTABLE)
    assert (published.findings, published.counts.ztocs > 0) == ((), True)
    assert tagged == str(other.fetch_root().digest)


def test_a_large_blob_sent_in_parts_is_read_back_unchanged(host):
    content = noise(25 << 20, "large")
    blob = describe(content, media_types.OCI_LAYER)
    repository = open_repository(RegistryRef(host=host, repository="large"))
    repository.push_blob(blob, parts_of([content], 1 << 20))

    with repository.open_blob(blob) as chunks:
        assert b"".join(chunks) == content


def test_manifests_tags_and_referrers_are_deleted(name):
    place = open_repository(
        RegistryRef(host=name.partition("/")[0], repository=name.partition("/")[2], tag="1.0")
    )
    created = run(create_index, place, place, tag=None).platforms

    for one in created:
        assert one.index is not None
        assert place.delete_manifest(one.index.descriptor.digest)
        assert not place.delete_manifest(one.index.descriptor.digest)
        subject = one.image.descriptor.digest
        assert list(place.fetch_referrers(subject, media_types.SOCI_INDEX_V1)) == []
    assert raw(f"{name}:1.0") == IMAGE.document
