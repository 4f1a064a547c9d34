from __future__ import annotations

import pytest

from soci.oci.compression import Compression
from soci.oci.media_types import (
    OCI_FOREIGN_LAYER,
    PREFETCH,
    ZTOC,
    compression_of,
    is_config,
    is_encrypted,
    is_foreign,
    is_index,
    is_layer,
    is_manifest,
)

OCI = "application/vnd.oci.image.layer.v1.tar"
DOCKER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar"


@pytest.mark.parametrize(
    ("media_type", "compression"),
    [
        (OCI, Compression.UNCOMPRESSED),
        (f"{OCI}+gzip", Compression.GZIP),
        (f"{OCI}+zstd", Compression.ZSTD),
        (f"{OCI}+gzip+encrypted", Compression.GZIP),
        (f"{OCI}+zstd+encrypted", Compression.ZSTD),
        (f"{OCI}+encrypted", None),
        (f"{OCI}+lz4", None),
        (OCI_FOREIGN_LAYER, None),
        (f"{OCI_FOREIGN_LAYER}+gzip", Compression.GZIP),
        (DOCKER, Compression.UNCOMPRESSED),
        (f"{DOCKER}.gzip", Compression.GZIP),
        (f"{DOCKER}.zstd", Compression.ZSTD),
        (f"{DOCKER}.gzip+encrypted", None),
        (DOCKER_FOREIGN, Compression.UNCOMPRESSED),
        (f"{DOCKER_FOREIGN}.gzip", Compression.GZIP),
        ("application/vnd.oci.image.layer.v2.tar+gzip", None),
        ("application/vnd.in-toto+json", None),
        ("", None),
    ],
)
def test_the_compression_follows_from_the_media_type(media_type, compression):
    assert compression_of(media_type) is compression


@pytest.mark.parametrize(
    "media_type",
    [OCI, f"{OCI}+gzip+encrypted", f"{DOCKER}.gzip", f"{DOCKER}.gzip+x", DOCKER_FOREIGN, OCI_FOREIGN_LAYER],
)
def test_layer_types_are_known_with_any_suffix(media_type):
    assert is_layer(media_type)


@pytest.mark.parametrize("media_type", [PREFETCH, ZTOC, "application/vnd.in-toto+json", f"{DOCKER}.bz2", ""])
def test_other_types_are_not_layers(media_type):
    assert not is_layer(media_type)


def test_foreign_layers_differ_from_others():
    assert is_foreign(f"{OCI_FOREIGN_LAYER}+zstd")
    assert is_foreign(f"{DOCKER_FOREIGN}.gzip")
    assert not is_foreign(f"{OCI}+gzip")
    assert not is_foreign(f"{DOCKER}.gzip")


def test_encrypted_layers_differ_from_others():
    assert is_encrypted(f"{OCI}+gzip+encrypted")
    assert is_encrypted(f"{OCI}+encrypted")
    assert not is_encrypted(f"{OCI}+gzip")


def test_each_document_type_is_of_one_kind():
    index, manifest = "application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json"
    docker_list = "application/vnd.docker.distribution.manifest.list.v2+json"
    docker_manifest = "application/vnd.docker.distribution.manifest.v2+json"

    assert [is_index(t) for t in (index, docker_list, manifest, docker_manifest)] == [
        True,
        True,
        False,
        False,
    ]
    assert [is_manifest(t) for t in (index, docker_list, manifest, docker_manifest)] == [
        False,
        False,
        True,
        True,
    ]
    assert is_config("application/vnd.docker.container.image.v1+json")
    assert not is_config("application/vnd.oci.empty.v1+json")
