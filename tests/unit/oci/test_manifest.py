from __future__ import annotations

import json

import pytest

from soci.errors import InvalidDocument
from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.digest import digest_of
from soci.oci.manifest import MANIFEST_LIMIT_BYTES, ImageIndex, ImageManifest, sniff_media_type
from tests.golden_images import GOLDEN_IMAGES

ENTRY = {"mediaType": "m", "digest": str(digest_of(b"")), "size": 0}
MANIFEST = {"schemaVersion": 2, "mediaType": media_types.OCI_MANIFEST, "config": ENTRY, "layers": [ENTRY]}
INDEX = {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": [ENTRY]}


def golden_documents() -> list[tuple[str, bytes]]:
    """Return all manifests and indexes that the format's owner wrote."""
    return [
        (f"{image}-{digest[7:15]}", document.encode())
        for image, expected in json.loads((GOLDEN_IMAGES / "expected.json").read_text()).items()
        for case in expected["cases"]
        for digest, document in case.get("new_blobs", {}).items()
        if isinstance(document, str) and "schemaVersion" in document
    ]


@pytest.mark.parametrize("document", [pytest.param(text, id=name) for name, text in golden_documents()])
def test_documents_of_the_formats_owner_are_rewritten_to_the_same_bytes(document):
    kind = ImageIndex if media_types.is_index(sniff_media_type(document, "doc")) else ImageManifest

    assert kind.parse(document).encode() == document


def test_unknown_and_empty_fields_vanish_from_a_manifest():
    document = MANIFEST | {"history": [], "annotations": {}, "config": ENTRY | {"x": 1}, "subject": None}

    assert json.loads(ImageManifest.parse(json.dumps(document).encode()).encode()) == MANIFEST


def test_manifest_keys_are_written_in_gos_order():
    descriptor = Descriptor(media_type="m", digest=digest_of(b""), size=0)
    manifest = ImageManifest(
        config=descriptor,
        layers=(descriptor,),
        subject=descriptor,
        artifact_type="t",
        annotations={"b": "<", "a": "é"},
    )

    entry = json.dumps(ENTRY, separators=(",", ":"))
    assert manifest.encode().decode() == (
        f'{{"schemaVersion":2,"mediaType":"{media_types.OCI_MANIFEST}","artifactType":"t","config":{entry},'
        f'"layers":[{entry}],"subject":{entry},"annotations":{{"a":"é","b":"\\u003c"}}}}'
    )


def test_index_keys_are_written_in_gos_order():
    descriptor = Descriptor(media_type="m", digest=digest_of(b""), size=0)
    index = ImageIndex(manifests=(descriptor,), subject=descriptor, artifact_type="t", annotations={"a": "1"})

    entry = json.dumps(ENTRY, separators=(",", ":"))
    assert index.encode().decode() == (
        f'{{"schemaVersion":2,"mediaType":"{media_types.OCI_INDEX}","artifactType":"t","manifests":[{entry}],'
        f'"subject":{entry},"annotations":{{"a":"1"}}}}'
    )


@pytest.mark.parametrize(
    ("layers", "written"),
    [({}, b'"layers":null'), ({"layers": None}, b'"layers":null'), ({"layers": []}, b'"layers":[]')],
    ids=["absent", "null", "empty"],
)
def test_missing_layers_become_null_and_an_empty_list_stays(layers, written):
    document = {"schemaVersion": 2, "config": ENTRY} | layers

    assert written in ImageManifest.parse(json.dumps(document).encode()).encode()


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        pytest.param([], "expected object, got list", id="no object"),
        pytest.param(
            MANIFEST | {"schemaVersion": 1}, "schemaVersion: expected 2, got 1", id="docker schema 1"
        ),
        pytest.param({}, "schemaVersion: expected 2, got nothing", id="no schema version"),
        pytest.param({"schemaVersion": 2}, "config: expected object, got nothing", id="no config"),
        pytest.param(
            MANIFEST | {"layers": [{}]}, r"layers\[0\]\.digest: digest ''", id="layer without digest"
        ),
        pytest.param(MANIFEST | {"layers": {}}, "layers: expected list, got object", id="layers no list"),
        pytest.param(
            MANIFEST | {"annotations": {"a": 1}}, r"annotations\['a'\]: expected string", id="annotations"
        ),
        pytest.param(MANIFEST | {"subject": {}}, r"subject\.digest", id="subject"),
        pytest.param(INDEX, "an image index, where an image manifest was expected", id="an index"),
        pytest.param(MANIFEST | {"manifests": []}, "an image index, where", id="manifest and index at once"),
    ],
)
def test_a_bad_manifest_is_refused_with_the_path(document, problem):
    with pytest.raises(InvalidDocument, match=f"^image manifest: .*{problem}"):
        ImageManifest.parse(json.dumps(document).encode())


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        pytest.param(INDEX | {"manifests": [{"size": -1}]}, r"manifests\[0\]\.", id="entry"),
        pytest.param(
            INDEX | {"manifests": {}}, "manifests: expected list, got object", id="manifests no list"
        ),
        pytest.param(MANIFEST, "an image manifest, where an image index was expected", id="a manifest"),
        pytest.param(INDEX | {"layers": []}, "an image manifest, where", id="index and manifest at once"),
        pytest.param(INDEX | {"config": ENTRY}, "an image manifest, where", id="index with a config"),
    ],
)
def test_a_bad_index_is_refused_with_the_path(document, problem):
    with pytest.raises(InvalidDocument, match=f"^image index: .*{problem}"):
        ImageIndex.parse(json.dumps(document).encode())


@pytest.mark.parametrize("kind", [ImageManifest, ImageIndex])
def test_a_document_over_the_limit_is_refused(kind):
    with pytest.raises(InvalidDocument, match="the limit for such a document is 4194304"):
        kind.parse(b" " * (MANIFEST_LIMIT_BYTES + 1))


@pytest.mark.parametrize(
    ("document", "media_type"),
    [
        (MANIFEST, media_types.OCI_MANIFEST),
        (MANIFEST | {"mediaType": media_types.DOCKER_MANIFEST}, media_types.DOCKER_MANIFEST),
        (INDEX | {"mediaType": media_types.DOCKER_MANIFEST_LIST}, media_types.DOCKER_MANIFEST_LIST),
        (INDEX | {"mediaType": ""}, media_types.OCI_INDEX),
        (MANIFEST | {"mediaType": None}, media_types.OCI_MANIFEST),
    ],
)
def test_the_media_type_follows_from_the_document(document, media_type):
    assert sniff_media_type(json.dumps(document).encode(), "doc") == media_type


def test_another_document_is_neither_manifest_nor_index():
    with pytest.raises(InvalidDocument, match="doc: neither manifest nor index, mediaType 'x'"):
        sniff_media_type(b'{"schemaVersion":2,"mediaType":"x"}', "doc")
