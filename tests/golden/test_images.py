"""For each golden image the descriptor and the new blobs equal those of the format's owner.

Where this package differs on purpose (attestations), tests say what differs, and that nothing else does.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from soci.build.recipe import convert, create_index
from soci.image.documents import Platforms
from soci.oci.descriptor import Descriptor
from soci.places.layout.oci_layout import OciLayout
from tests.builders import BUILD_TOOL
from tests.golden_images import CASES, EXPECTED, GOLDEN_IMAGES, Case, case_id
from tests.recipes import blobs_of, document_in, files_of, run

WITH_ATTESTATION = "oci-index-with-attestation"

REFUSED = [(name, case) for name, case in CASES if "error" in case]
DIFFERENT = [(name, case) for name, case in CASES if name == WITH_ATTESTATION and case["version"] == "v2"]
EQUAL = [one for one in CASES if one not in REFUSED and one not in DIFFERENT]


def of_cases(cases):
    return pytest.mark.parametrize(("name", "case"), cases, ids=case_id)


@pytest.fixture
def layout(tmp_path):
    """A copy of a golden layout, to write into."""

    def copy(name):
        directory = tmp_path / name
        shutil.copytree(GOLDEN_IMAGES / name, directory, copy_function=shutil.copyfile)
        return directory

    return copy


def index(layout: Path, case: Case) -> tuple[Descriptor | None, dict[str, bytes]]:
    """Index as a case says; return what was published and which blobs are new."""
    before = blobs_of(layout)
    store = OciLayout(layout, tag="latest")
    result = run(
        create_index if case["version"] == "v1" else convert,
        store,
        store,
        platforms=Platforms.ALL if case["platform"] == "all" else [case["platform"]],
        tag=None if case["version"] == "v1" else "latest-soci",
        span_size_bytes=4 << 20,
        min_layer_size_bytes=case["min_layer_size"],
        build_tool_identifier=BUILD_TOOL,
        optimizations=frozenset(case["optimizations"]),
        prefetch_patterns=tuple(case["prefetch"]),
    )
    after = blobs_of(layout)
    assert before.items() <= after.items(), "what was there before has changed"
    return result.root, {digest: blob for digest, blob in after.items() if digest not in before}


def comparable(blobs: dict[str, bytes], expected: Case) -> dict[str, object]:
    """New blobs in the form of expected.json: documents as text, zTOCs as their size."""
    wanted = expected["new_blobs"]
    return {
        digest: {"size": len(blob)}
        if isinstance(wanted.get(digest), dict)
        else blob.decode("utf-8", "replace")
        for digest, blob in blobs.items()
    }


def test_the_golden_set_has_every_kind_of_case():
    assert len(EQUAL) >= 29
    assert len(DIFFERENT) >= 3
    assert len(REFUSED) >= 2


@of_cases(EQUAL)
def test_descriptor_and_new_blobs_are_those_of_the_owner(layout, name, case):
    root, blobs = index(layout(name), case)

    assert comparable(blobs, case) == case["new_blobs"]
    assert root is not None
    assert root.to_json() == case["descriptor"]


@of_cases(REFUSED)
def test_nothing_is_written_where_the_owner_finds_nothing_to_index(layout, name, case):
    directory = layout(name)
    before = files_of(directory)

    root, blobs = index(directory, case)

    assert root is None
    assert blobs == {}
    assert files_of(directory) == before


def entry_with(document, digest):
    return next(entry for entry in document["manifests"] if entry["digest"] == digest)


class TestAttestations:
    """Difference: an attestation keeps its manifest and what its entry says (docs/adr/0003)."""

    @pytest.fixture(params=[case for _, case in DIFFERENT], ids=case_id)
    def case(self, request):
        return request.param

    @pytest.fixture
    def made(self, layout, case):
        """The layout, the root that was made and the new blobs."""
        directory = layout(WITH_ATTESTATION)
        root, blobs = index(directory, case)
        assert root is not None
        return directory, root, blobs

    @pytest.fixture
    def original(self):
        """The image index as it was pushed: the image's entry, then that of its attestation."""
        return document_in(GOLDEN_IMAGES / WITH_ATTESTATION, EXPECTED[WITH_ATTESTATION]["root"]["digest"])

    def owners_root(self, case):
        return json.loads(case["new_blobs"][case["descriptor"]["digest"]])

    def test_its_manifest_keeps_its_bytes_and_digest(self, made, original):
        directory, root, _ = made
        _, attestation = original["manifests"]
        source = GOLDEN_IMAGES / WITH_ATTESTATION

        written = entry_with(document_in(directory, root.digest), attestation["digest"])

        assert written["size"] == attestation["size"]
        assert blobs_of(directory)[attestation["digest"]] == blobs_of(source)[attestation["digest"]]

    def test_its_entry_keeps_the_annotations_and_follows_to_the_new_image_manifest(self, made, original):
        directory, root, _ = made
        image, attestation = original["manifests"]
        old = attestation["annotations"]
        assert old["vnd.docker.reference.digest"] == image["digest"]

        document = document_in(directory, root.digest)
        written = entry_with(document, attestation["digest"])["annotations"]

        new_image = document["manifests"][0]["digest"]
        assert new_image != image["digest"]
        assert written == {**old, "vnd.docker.reference.digest": new_image}

    def test_the_owner_loses_both(self, case, original):
        """The reason for the difference: once the owner's tool keeps both, this package can be equal again."""
        _, attestation = original["manifests"]
        theirs = self.owners_root(case)["manifests"][1]

        assert theirs["digest"] != attestation["digest"]
        assert "annotations" not in theirs

    def test_all_other_documents_and_ztocs_are_those_of_the_owner(self, made, case):
        _, root, blobs = made
        theirs = self.owners_root(case)
        rewritten_attestation = theirs["manifests"][1]["digest"]
        different = {case["descriptor"]["digest"], rewritten_attestation, str(root.digest)}

        ours = {k: v for k, v in comparable(blobs, case).items() if k not in different}

        assert ours == {k: v for k, v in case["new_blobs"].items() if k not in different}

    def test_the_root_differs_in_the_entry_of_the_attestation_alone(self, made, case):
        directory, root, _ = made
        ours, theirs = document_in(directory, root.digest), self.owners_root(case)

        assert len(ours["manifests"]) == len(theirs["manifests"]) == 3
        del ours["manifests"][1], theirs["manifests"][1]
        assert list(ours.items()) == list(theirs.items())
