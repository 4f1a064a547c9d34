from __future__ import annotations

from pathlib import Path

import pytest

from soci.oci import media_types
from soci.oci.digest import Digest, digest_of
from soci.places.layout.oci_layout import OciLayout
from tests.builders import file, gzip_of, image_of, index_layer, layout_of, tar_of, text, with_soci_index
from tests.recipes import convert_layout, document_in, entries_in, files_of
from tests.unit.cli.samples import LAYER, UPPER


@pytest.fixture
def converted(layout):
    convert_layout(layout, prefetch_patterns=("/bin/app",))
    return layout


def flip(layout: Path, digest: Digest | str) -> None:
    """Change one bit in the middle of a blob."""
    path = layout / "blobs/sha256" / str(digest).removeprefix("sha256:")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def blob(layout, kind):
    image, index = entries_in(layout)
    artifacts = document_in(layout, index.digest)["layers"]
    manifest = document_in(layout, image.digest)
    prefetch = next(one["digest"] for one in artifacts if one["mediaType"] == media_types.PREFETCH)
    return {
        "image index": OciLayout(layout, tag="latest-soci").fetch_root().digest,
        "image manifest": image.digest,
        "SOCI index": index.digest,
        "zTOC": artifacts[0]["digest"],
        "prefetch artifact": prefetch,
        "layer": digest_of(LAYER),
        "config": manifest["config"]["digest"],
        "empty config": digest_of(b"{}"),
    }[kind]


KINDS = [
    *("image index", "image manifest", "SOCI index", "zTOC"),
    *("prefetch artifact", "layer", "config", "empty config"),
]


def test_a_sound_image(soci_index, converted):
    result = soci_index("verify", f"oci:{converted}:latest-soci", "--files")

    assert result.stdout.startswith("sound")
    assert "2 zTOCs" in result.stdout
    assert result.stderr == ""


def test_the_document_has_findings_and_counts(soci_index, converted):
    document = soci_index("verify", f"oci:{converted}:latest-soci", "--json").document

    assert document["sound"] is True
    assert document["findings"] == []
    counts = document["counts"]
    assert (counts["manifests"], counts["soci_indexes"], counts["ztocs"]) == (3, 1, 2)
    assert counts["spans"] == index_layer(LAYER).spans + index_layer(UPPER).spans
    assert counts["bytes"] > len(LAYER)
    assert counts["files"] == 0


def test_files_are_compared_when_asked_for(soci_index, converted):
    document = soci_index("verify", f"oci:{converted}:latest-soci", "--files", "--json").document

    assert document["counts"]["files"] == 3


@pytest.mark.parametrize("kind", KINDS)
def test_one_changed_bit_is_found_wherever_it_is(soci_index, converted, kind):
    digest = blob(converted, kind)
    flip(converted, digest)

    result = soci_index("verify", f"oci:{converted}:latest-soci", status=1)
    document = soci_index("verify", f"oci:{converted}:latest-soci", "--json", status=1).document

    assert str(digest).removeprefix("sha256:") in result.stdout
    assert "NOT sound" in result.stdout
    assert document["sound"] is False
    assert {finding["severity"] for finding in document["findings"]} >= {"error"}
    assert all(finding.keys() == {"severity", "where", "what"} for finding in document["findings"])


@pytest.mark.parametrize("kind", ["zTOC", "layer", "SOCI index", "config"])
def test_a_blob_that_is_missing_is_found(soci_index, converted, kind):
    digest = str(blob(converted, kind)).removeprefix("sha256:")
    (converted / "blobs/sha256" / digest).unlink()

    assert digest in soci_index("verify", f"oci:{converted}:latest-soci", status=1).stdout


def test_a_ztoc_of_another_layer_is_found_by_its_spans(soci_index, tmp_path):
    other = gzip_of(tar_of(file("bin/app", text(200_000, "other"))))
    image = with_soci_index(image_of(LAYER), ztocs={0: bytes(index_layer(other).ztoc)})
    layout = layout_of(tmp_path, image)

    result = soci_index("verify", f"oci:{layout}", status=1)

    assert f"zTOC {index_layer(other).digest} of layer {digest_of(LAYER)}" in result.stdout


def test_an_image_that_is_not_there_is_an_error_and_no_finding(soci_index, converted):
    result = soci_index("verify", f"oci:{converted}:none", "--json", status=1)

    assert result.document["error"]["type"] == "NotInImage"


def test_verifying_writes_nothing(soci_index, converted):
    before = files_of(converted)

    soci_index("verify", f"oci:{converted}:latest-soci", "--files")

    assert files_of(converted) == before
