from __future__ import annotations

import json

import pytest

from soci.errors import InvalidDocument, NotInImage
from soci.oci.descriptor import Descriptor
from soci.oci.digest import digest_of
from soci.oci.manifest import ImageIndex
from soci.places.layout.index_json import EMPTY_INDEX_JSON, choose_entry, with_root

REF_NAME = "org.opencontainers.image.ref.name"
IMAGE_NAME = "io.containerd.image.name"


def describe(content: bytes, **annotations: str) -> Descriptor:
    keys = {"tag": REF_NAME, "name": IMAGE_NAME}
    return Descriptor(
        media_type="m",
        digest=digest_of(content),
        size=len(content),
        annotations={keys[word]: text for word, text in annotations.items()},
    )


def artifact(content: bytes) -> Descriptor:
    return Descriptor(media_type="m", digest=digest_of(content), size=len(content), artifact_type="t")


def choose(*entries: Descriptor, tag: str | None = None) -> Descriptor:
    return choose_entry(ImageIndex(manifests=entries), tag, "place")


def test_a_tag_is_found_among_others():
    assert choose(describe(b"a", tag="1"), describe(b"b", tag="2"), tag="2").digest == digest_of(b"b")


def test_the_only_image_needs_no_tag():
    assert choose(describe(b"a")).digest == digest_of(b"a")
    assert choose(describe(b"a", tag="1")).digest == digest_of(b"a")


def test_one_image_under_two_tags_is_one_image():
    assert choose(describe(b"a", tag="1"), describe(b"a", tag="2")).digest == digest_of(b"a")


def test_untagged_artifacts_are_no_images():
    assert choose(artifact(b"x"), describe(b"a", tag="1"), artifact(b"y")).digest == digest_of(b"a")


def test_dockers_full_name_is_found_in_any_spelling():
    entries = [
        describe(b"a", name="docker.io/library/app:1", tag="1"),
        describe(b"b", name="docker.io/library/web:1", tag="1"),
    ]

    assert choose(*entries, tag="web:1").digest == digest_of(b"b")
    assert choose(*entries, tag="docker.io/library/app:1").digest == digest_of(b"a")


@pytest.mark.parametrize(
    ("entries", "tag", "problem"),
    [
        pytest.param([], None, "expected a single image, found none; tags: none", id="empty layout"),
        pytest.param([artifact(b"x")], None, "expected a single image, found none", id="artifacts only"),
        pytest.param(
            [describe(b"a", tag="2"), describe(b"b", tag="1")],
            None,
            "expected a single image, found 2; tags: 1, 2",
            id="several images",
        ),
        pytest.param([describe(b"a", tag="1")], "No_Name", "found none; tags: 1", id="no Docker name"),
        pytest.param(
            [describe(b"a", tag="1")], "2", "one image with tag '2', found none; tags: 1", id="unknown"
        ),
        pytest.param(
            [describe(b"a", tag="1", name="h.io/a:1"), describe(b"b", tag="1", name="h.io/b:1")],
            "1",
            "one image with tag '1', found 2; tags: h.io/a:1, h.io/b:1",
            id="one tag on two images",
        ),
        pytest.param(
            [describe(b"%d" % i, tag=f"{i:02}") for i in range(30)], "x", "18, 19 and 10 more", id="many tags"
        ),
    ],
)
def test_none_or_several_images_are_refused_with_a_list_of_tags(entries, tag, problem):
    with pytest.raises(NotInImage, match=f"^place: .*{problem}"):
        choose(*entries, tag=tag)


def index_json(*entries: dict[str, object], **fields: object) -> bytes:
    return json.dumps({"schemaVersion": 2, "manifests": list(entries)} | fields).encode()


def entries_after(before: bytes, descriptor: Descriptor, tag: str | None) -> list[dict[str, object]]:
    entries: list[dict[str, object]] = json.loads(with_root(before, descriptor, tag, "index.json"))[
        "manifests"
    ]
    return entries


OTHER = {
    "mediaType": "m",
    "digest": str(digest_of(b"o")),
    "size": 1,
    "annotations": {REF_NAME: "o"},
    "x": [1.5],
}


def test_an_entry_is_written_as_skopeo_writes_it():
    root = Descriptor(media_type="m", digest=digest_of(b"a"), size=1, annotations={"dropped": "1"})

    assert with_root(EMPTY_INDEX_JSON, root, "latest", "index.json").decode() == (
        f'{{"schemaVersion":2,"manifests":[{{"mediaType":"m","digest":"{root.digest}","size":1,'
        f'"annotations":{{"{REF_NAME}":"latest"}}}}]}}'
    )


def test_other_entries_and_unknown_fields_stay_as_they_are():
    before = index_json(OTHER, annotations={"a": "b"}, unknown={"deep": [None]})

    after = json.loads(with_root(before, describe(b"a"), "new", "index.json"))

    assert after["manifests"][0] == OTHER
    assert len(after["manifests"]) == 2
    assert (after["annotations"], after["unknown"]) == ({"a": "b"}, {"deep": [None]})


def test_a_tag_moves_and_the_older_entry_goes():
    before = index_json(describe(b"a", tag="t").to_json(), OTHER, describe(b"b", tag="t").to_json())

    after = entries_after(before, describe(b"c"), "t")

    assert [entry["digest"] for entry in after] == [str(digest_of(b"c")), OTHER["digest"]]


def test_an_untagged_root_is_added_once():
    once = with_root(index_json(OTHER), artifact(b"soci"), None, "index.json")

    assert json.loads(once)["manifests"][1] == artifact(b"soci").to_json()
    assert with_root(once, artifact(b"soci"), None, "index.json") == once


@pytest.mark.parametrize("entries", ['"Manifests":[]', '"manifests":null', '"x":1'])
def test_an_index_with_an_odd_or_missing_list_is_completed(entries):
    after = with_root(f'{{"schemaVersion":2,{entries}}}'.encode(), describe(b"a"), "t", "index.json")

    assert len(ImageIndex.parse(after).manifests or ()) == 1


def test_a_corrupt_index_is_not_changed():
    with pytest.raises(InvalidDocument, match=r"^index\.json: manifests\[0\]"):
        with_root(index_json({"size": 1}), describe(b"a"), "t", "index.json")
