from __future__ import annotations

import pytest

from soci.errors import InvalidDocument
from soci.oci import gojson
from soci.oci.descriptor import Descriptor
from soci.oci.digest import digest_of
from soci.oci.fields import Fields
from soci.oci.platform import Platform

DIGEST = digest_of(b"content")


def parse(text: str) -> Descriptor:
    return Descriptor.from_json(Fields(gojson.decode(text.encode(), "doc", limit_bytes=10_000), "doc"))


def test_keys_are_written_in_gos_order_and_annotations_sorted():
    descriptor = Descriptor(
        media_type="m",
        digest=DIGEST,
        size=7,
        urls=("https://example.org/a",),
        annotations={"b": "2", "a": "1"},
        data=b"content",
        platform=Platform(os="linux", architecture="arm", variant="v7"),
        artifact_type="t",
    )

    assert gojson.encode(descriptor.to_json()).decode() == (
        f'{{"mediaType":"m","digest":"{DIGEST}","size":7,"urls":["https://example.org/a"],'
        '"annotations":{"a":"1","b":"2"},"data":"Y29udGVudA==",'
        '"platform":{"architecture":"arm","os":"linux","variant":"v7"},"artifactType":"t"}'
    )
    assert parse(gojson.encode(descriptor.to_json()).decode()) == descriptor


def test_empty_fields_are_left_out_but_not_the_media_type():
    text = f'{{"size":0,"digest":"{DIGEST}","urls":[],"annotations":{{}},"data":"","x":1,"platform":null}}'

    assert parse(text).to_json() == {"mediaType": "", "digest": str(DIGEST), "size": 0}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param('{"size":1}', "digest: digest ''", id="no digest"),
        pytest.param(f'{{"digest":"{DIGEST}"}}', "size: expected integer, got nothing", id="no size"),
        pytest.param(
            f'{{"digest":"{DIGEST}","size":1,"platform":{{"os.features":[1]}}}}',
            r"platform\.os\.features\[0\]: expected string, got number",
            id="platform",
        ),
    ],
)
def test_a_bad_descriptor_is_refused_with_the_path(text, problem):
    with pytest.raises(InvalidDocument, match=f"^doc: {problem}"):
        parse(text)


def test_descriptors_are_hashable_and_cannot_be_changed_from_outside():
    annotations = {"a": "1"}
    descriptor = Descriptor(media_type="m", digest=DIGEST, size=1, annotations=annotations)
    same = Descriptor(media_type="m", digest=DIGEST, size=1, annotations={"a": "1"})
    annotations["a"] = "2"

    assert descriptor == same
    assert len({descriptor, same}) == 1
    with pytest.raises(TypeError):
        descriptor.annotations["a"] = "3"  # type: ignore[index]
