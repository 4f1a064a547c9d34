from __future__ import annotations

import json

import pytest

from soci.errors import InvalidDocument
from soci.index.manifest import (
    EMPTY_CONFIG,
    LayerZtoc,
    check_round_trip,
    describe_ztoc,
    encode_index_manifest,
)
from soci.oci import media_types
from soci.oci.platform import Platform
from soci.settings import IndexVersion, Optimization
from tests.builders import describe, directory, file, gzip_of, index_layer, opaque, symlink, tar_of
from tests.recipes import settings_of

LAYER = describe(b"layer", media_types.DOCKER_LAYER_GZIP)
ZTOC = describe(b"ztoc", media_types.ZTOC)
IMAGE = describe(
    b"manifest",
    media_types.DOCKER_MANIFEST,
    annotations={"a": "b"},
    platform=Platform(os="linux", architecture="amd64"),
)


def ztoc_entry(*, needs_xattrs: bool = False, **settings):
    return describe_ztoc(
        LayerZtoc(layer=LAYER, ztoc=ZTOC, needs_xattrs=needs_xattrs), settings_of(**settings)
    )


def encode(version: IndexVersion, *, ztocs=None, prefetch=(), **settings):
    return encode_index_manifest(
        version=version,
        ztocs=[ztoc_entry()] if ztocs is None else ztocs,
        prefetch=prefetch,
        image_manifest=IMAGE,
        settings=settings_of(**settings),
    )


def test_a_ztoc_names_its_layer_with_the_media_type_of_the_image_and_the_span_size():
    entry = ztoc_entry(span_size_bytes=1 << 20)

    assert entry.to_json() == {
        "mediaType": "application/octet-stream",
        "digest": str(ZTOC.digest),
        "size": ZTOC.size,
        "annotations": {
            "com.amazon.soci.image-layer-digest": str(LAYER.digest),
            "com.amazon.soci.image-layer-mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
            "com.amazon.soci.span-size": "1048576",
        },
    }


@pytest.mark.parametrize(
    ("optimizations", "needs_xattrs", "is_said"),
    [((), False, False), ((), True, False), (("xattr",), True, False), (("xattr",), False, True)],
    ids=["off", "off with xattrs", "on with xattrs", "on without xattrs"],
)
def test_that_a_layer_has_no_xattrs_is_said_only_with_the_optimization(optimizations, needs_xattrs, is_said):
    chosen = frozenset(map(Optimization, optimizations))

    entry = ztoc_entry(needs_xattrs=needs_xattrs, optimizations=chosen)

    assert entry.annotations.get("com.amazon.soci.disable-xattrs") == ("true" if is_said else None)


@pytest.mark.parametrize(
    ("members", "needs_xattrs"),
    [
        ((file("a"), symlink("b", "a")), False),
        ((file("a", pax={"comment": "SCHILY.xattr.user.k", "LIBARCHIVE.xattr.user.k": "v"}),), False),
        ((file("a", pax={"SCHILY.xattr.user.k": "v"}),), True),
        ((directory("d", pax={"SCHILY.xattr.security.capability": "v"}), file("d/a")), True),
        ((opaque("d"),), True),
        ((file("x.wh..wh..opq"),), True),
        ((file(".wh..wh..opq/a"),), False),
    ],
    ids=["none", "other records", "on a file", "on a directory", "opaque", "name that ends so", "directory"],
)
def test_extended_attributes_and_opaque_directories_need_xattrs(members, needs_xattrs):
    assert index_layer(gzip_of(tar_of(*members))).needs_xattrs is needs_xattrs


def test_version_1_names_the_image_manifest_as_its_subject_and_nothing_else_of_it():
    document = json.loads(encode(IndexVersion.V1).data)

    assert document["subject"] == {
        "mediaType": media_types.DOCKER_MANIFEST,
        "digest": str(IMAGE.digest),
        "size": IMAGE.size,
    }
    assert document["config"]["mediaType"] == "application/vnd.amazon.soci.index.v1+json"


def test_version_2_has_no_subject_so_equal_layers_give_equal_indexes():
    document = json.loads(encode(IndexVersion.V2).data)

    assert list(document) == ["schemaVersion", "mediaType", "config", "layers", "annotations"]
    assert document["config"]["mediaType"] == "application/vnd.amazon.soci.index.v2+json"


@pytest.mark.parametrize("version", list(IndexVersion))
def test_the_artifact_type_stands_in_the_descriptor_and_not_in_the_document(version):
    made = encode(version)

    assert made.descriptor.artifact_type == f"application/vnd.amazon.soci.index.{version}+json"
    assert made.descriptor.media_type == media_types.OCI_MANIFEST
    assert b"artifactType" not in made.data


def test_the_config_is_an_empty_object_that_has_to_be_pushed():
    document = json.loads(encode(IndexVersion.V2).data)

    assert EMPTY_CONFIG.data == b"{}"
    assert document["config"]["digest"] == str(EMPTY_CONFIG.descriptor.digest)
    assert document["config"]["size"] == 2


def test_prefetch_artifacts_come_after_all_ztocs():
    prefetch = describe(b"prefetch", media_types.PREFETCH)

    layers = json.loads(encode(IndexVersion.V2, ztocs=[ztoc_entry()] * 2, prefetch=[prefetch]).data)["layers"]

    assert [layer["mediaType"] for layer in layers] == [*[media_types.ZTOC] * 2, media_types.PREFETCH]


def test_the_build_tool_is_the_only_annotation():
    document = json.loads(encode(IndexVersion.V2, build_tool_identifier="a <tool>").data)

    assert document["annotations"] == {"com.amazon.soci.build-tool-identifier": "a <tool>"}


def test_an_encoded_index_manifest_survives_the_reader():
    data = encode(IndexVersion.V2, build_tool_identifier="Bücher & <Söhne> \U0001f600").data

    assert check_round_trip(data).encode() == data
    assert b"B\xc3\xbccher \\u0026 \\u003cS\xc3\xb6hne\\u003e" in data


def indented(data: bytes) -> bytes:
    return json.dumps(json.loads(data), indent=1).encode()


def with_sorted_keys(data: bytes) -> bytes:
    return json.dumps(json.loads(data), separators=(",", ":"), sort_keys=True).encode()


DEVIATIONS = {
    "sorted keys": with_sorted_keys,
    "indentation": indented,
    "trailing newline": lambda data: data + b"\n",
    "a space": lambda data: data.replace(b'":2,', b'": 2,'),
    "artifactType at the top": lambda data: data.replace(
        b'"config"', b'"artifactType":"application/vnd.amazon.soci.index.v2+json","config"', 1
    ),
    "an ampersand as it is": lambda data: data.replace(b"\\u0026", b"&"),
    "an escaped letter": lambda data: data.replace(b"\xc3\xbc", b"\\u00fc"),
    "an unknown field": lambda data: data.replace(b'"config"', b'"note":1,"config"', 1),
    "a key twice": lambda data: data.replace(b'"config"', b'"schemaVersion":2,"config"', 1),
    "a key in capitals": lambda data: data.replace(b'"layers"', b'"Layers"'),
    "empty annotations": lambda data: data.replace(b'"size":2}', b'"size":2,"annotations":{}}', 1),
}


@pytest.mark.parametrize("deviation", DEVIATIONS)
def test_any_other_spelling_is_refused(deviation):
    data = encode(IndexVersion.V2, build_tool_identifier="ü & co").data
    changed = DEVIATIONS[deviation](data)
    assert changed != data

    with pytest.raises(InvalidDocument, match="SOCI index manifest"):
        check_round_trip(changed)


def test_a_manifest_with_another_config_is_no_soci_index():
    data = encode(IndexVersion.V2).data.replace(b"amazon.soci.index.v2", b"amazon.soci.index.v3")

    with pytest.raises(InvalidDocument, match=r"config media type is .*index\.v3"):
        check_round_trip(data)
