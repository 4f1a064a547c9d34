from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import zstandard

from soci.errors import BlobMissing, DigestMismatch, InvalidDocument, NotInImage, SourceError
from soci.oci import media_types
from soci.oci.digest import digest_of
from soci.oci.integrity import checked
from soci.oci.manifest import ImageManifest
from soci.places.layout.docker_archive import DockerArchive, open_docker_archive
from soci.places.layout.oci_archive import OciArchive
from tests.image_files import Image, describe, entry_of, layout_files, tar_of

LAYERS = (tar_of({"a": b"1"}), tar_of({"b": b"2"}))
IMAGE = Image(layers=LAYERS)
OTHER = Image(layers=LAYERS[:1], architecture="arm64")


def saved(image: Image, *names: str) -> dict[str, object]:
    """Make an item of manifest.json."""
    return {
        "Config": f"{digest_of(image.config).hex}.json",
        "RepoTags": list(names) or None,
        "Layers": [f"{digest_of(layer).hex}/layer.tar" for layer in image.layers],
    }


def old_files(image: Image, *names: str) -> dict[str, bytes | str]:
    return {
        f"{digest_of(image.config).hex}.json": image.config,
        **{f"{digest_of(layer).hex}/layer.tar": layer for layer in image.layers},
        "manifest.json": json.dumps([saved(image, *names)]).encode(),
    }


def write(tmp_path: Path, files: dict[str, bytes | str]) -> Path:
    path = tmp_path / "saved.tar"
    path.write_bytes(tar_of(files))
    return path


def test_the_generated_manifest_describes_config_and_layers(tmp_path):
    source = open_docker_archive(write(tmp_path, old_files(IMAGE, "app:1.0")))

    assert isinstance(source, DockerArchive)
    assert source.fetch_root() == IMAGE.root
    assert source.fetch_manifest(IMAGE.root) == IMAGE.manifest
    assert source.fetch_manifest(describe(IMAGE.config, media_types.OCI_CONFIG)) == IMAGE.config


def test_the_same_image_gets_the_same_manifest_in_every_archive(tmp_path):
    files = old_files(IMAGE, "app:1.0")
    names = {name: f"elsewhere/{number}" for number, name in enumerate(files)}
    moved = {names[name]: content for name, content in files.items() if name != "manifest.json"}
    config, *layers = (name for name in names.values() if name != names["manifest.json"])
    item = {"Config": config, "Layers": layers}
    moved["manifest.json"] = json.dumps([item]).encode()

    assert open_docker_archive(write(tmp_path, moved)).fetch_root() == IMAGE.root


def test_a_layer_that_is_a_link_is_found(tmp_path):
    files = old_files(IMAGE)
    layer = f"{digest_of(LAYERS[1]).hex}/layer.tar"
    files |= {layer: "../shared/layer.tar", "shared/layer.tar": LAYERS[1]}

    source = open_docker_archive(write(tmp_path, files))

    assert source.fetch_root() == IMAGE.root
    assert source.fetch_range(describe(LAYERS[1]), 0, 10_000_000) == LAYERS[1]


def test_a_layer_that_occurs_twice_is_listed_twice(tmp_path):
    twice = Image(layers=(LAYERS[0], LAYERS[0]))
    source = open_docker_archive(write(tmp_path, old_files(twice)))

    assert (
        ImageManifest.parse(source.fetch_manifest(source.fetch_root())).layers == (describe(LAYERS[0]),) * 2
    )


@pytest.mark.parametrize(
    ("compress", "media_type"),
    [(gzip.compress, media_types.OCI_LAYER_GZIP), (zstandard.compress, media_types.OCI_LAYER_ZSTD)],
    ids=["gzip", "zstd"],
)
def test_a_compressed_layer_is_described_by_its_own_bytes(tmp_path, compress, media_type):
    compressed = compress(LAYERS[0])
    files = old_files(OTHER) | {f"{digest_of(LAYERS[0]).hex}/layer.tar": compressed}
    source = open_docker_archive(write(tmp_path, files))

    (layer,) = ImageManifest.parse(source.fetch_manifest(source.fetch_root())).layers or ()

    assert layer == describe(compressed, media_type)
    with source.open_blob(layer) as chunks:
        assert b"".join(checked(layer, chunks)) == compressed


def test_a_layer_with_another_diff_id_fails_the_check_of_its_reader(tmp_path):
    files = old_files(OTHER) | {f"{digest_of(LAYERS[0]).hex}/layer.tar": LAYERS[1]}
    source = open_docker_archive(write(tmp_path, files))
    (layer,) = ImageManifest.parse(source.fetch_manifest(source.fetch_root())).layers or ()

    with pytest.raises(DigestMismatch), source.open_blob(layer) as chunks:
        list(checked(layer, chunks))


@pytest.fixture(params=["old form", "layout form"])
def two_images(request, tmp_path):
    items = [saved(IMAGE, "app:1.0", "app:latest"), saved(OTHER, "h.io/team/web:2")]
    files: dict[str, bytes | str] = {**old_files(IMAGE), **old_files(OTHER)}
    if request.param == "layout form":
        entries = [
            entry_of(IMAGE, name="docker.io/library/app:1.0", tag="1.0"),
            entry_of(IMAGE, name="docker.io/library/app:latest", tag="latest"),
            entry_of(OTHER, name="h.io/team/web:2", tag="2"),
        ]
        files = layout_files([*IMAGE.blobs, *OTHER.blobs], entries)
    return write(tmp_path, files | {"manifest.json": json.dumps(items).encode()})


@pytest.mark.parametrize("name", ["app", "app:1.0", "docker.io/library/app:1.0", "docker.io/app:latest"])
def test_an_image_is_found_by_any_spelling_of_its_name(two_images, name):
    assert open_docker_archive(two_images, name).fetch_root().digest == IMAGE.root.digest


def test_a_name_that_docker_refuses_does_no_harm(tmp_path):
    source = open_docker_archive(write(tmp_path, old_files(IMAGE, "<none>:<none>", "app:1.0")), "app:1.0")

    assert source.fetch_root() == IMAGE.root


def test_an_image_is_chosen_among_several(two_images):
    assert open_docker_archive(two_images, "h.io/team/web:2").fetch_root().digest == OTHER.root.digest


@pytest.mark.parametrize("name", ["web:2", "h.io/team/web", None])
def test_an_unknown_or_missing_name_is_refused_with_a_list_of_names(two_images, name):
    with pytest.raises(NotInImage, match=r"app:1\.0, .*app:latest, h\.io/team/web:2$"):
        open_docker_archive(two_images, name).fetch_root()


def test_an_archive_of_docker_25_is_read_as_a_layout(tmp_path):
    entry = entry_of(IMAGE, name="docker.io/library/app:1.0", tag="1.0")
    item = {
        "Config": f"blobs/sha256/{digest_of(IMAGE.config).hex}",
        "RepoTags": ["app:1.0"],
        "Layers": [f"blobs/sha256/{digest_of(layer).hex}" for layer in IMAGE.layers],
    }
    files = layout_files(IMAGE.blobs, [entry]) | {"manifest.json": json.dumps([item]).encode()}

    source = open_docker_archive(write(tmp_path, files), "app:1.0")

    assert isinstance(source, OciArchive)
    assert source.fetch_root().digest == IMAGE.root.digest


@pytest.mark.parametrize(
    ("files", "error", "problem"),
    [
        pytest.param({"manifest.json": None}, SourceError, "no file manifest.json", id="no manifest.json"),
        pytest.param({"manifest.json": b"{}"}, InvalidDocument, "expected a list of images", id="no list"),
        pytest.param({"manifest.json": b"[]"}, NotInImage, "expected one image, found none", id="no image"),
        pytest.param({"manifest.json": b"[1]"}, InvalidDocument, r"\[0\]: expected object", id="no object"),
        pytest.param(
            {"manifest.json": b'[{"Config":1}]'},
            InvalidDocument,
            r"\[0\]\.Config: expected string",
            id="config",
        ),
        pytest.param(
            {"manifest.json": b'[{"Config":"../../etc/passwd"}]'},
            SourceError,
            "no file ../../etc/passwd",
            id="escape",
        ),
        pytest.param(
            {f"{digest_of(LAYERS[1]).hex}/layer.tar": None},
            SourceError,
            "no file .*/layer.tar",
            id="no layer",
        ),
        pytest.param(
            {f"{digest_of(IMAGE.config).hex}.json": b"{}"},
            InvalidDocument,
            "2 layers .* 0 diff_ids",
            id="diff_ids",
        ),
        pytest.param(
            {f"{digest_of(IMAGE.config).hex}.json": b" " * 9_000_000},
            InvalidDocument,
            "the limit",
            id="huge config",
        ),
    ],
)
def test_a_broken_archive_is_refused(tmp_path, files, error, problem):
    changed = {name: content for name, content in (old_files(IMAGE) | files).items() if content is not None}

    with pytest.raises(error, match=problem):
        open_docker_archive(write(tmp_path, changed)).fetch_root()


def test_a_blob_of_another_image_in_the_archive_is_not_served(two_images):
    source = open_docker_archive(two_images, "h.io/team/web:2")
    if isinstance(source, DockerArchive):
        with pytest.raises(BlobMissing, match="no blob"):
            source.fetch_range(describe(LAYERS[1]), 0, 1)
    else:
        assert source.has_blob(describe(LAYERS[1]))
