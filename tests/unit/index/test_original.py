from __future__ import annotations

from dataclasses import replace

from soci.index.original import is_reordered, original_config, reordered_manifest
from soci.oci import media_types
from soci.oci.annotations import ORIGINAL_CONFIG_DIGEST, SOCI_INDEX_DIGEST
from soci.oci.digest import digest_of
from soci.oci.manifest import ImageManifest
from tests.builders import describe

OLD, NEW, NEWER = (describe(data, media_types.OCI_CONFIG) for data in (b"{}", b"{ }", b"{  }"))
IMAGE = ImageManifest(config=OLD, layers=(), annotations={"kept": "yes"})


def indexed(manifest: ImageManifest) -> ImageManifest:
    return replace(
        manifest, annotations={**manifest.annotations, SOCI_INDEX_DIGEST: str(digest_of(b"index"))}
    )


def test_an_image_is_its_own_original():
    assert original_config(IMAGE) == original_config(indexed(IMAGE)) == OLD.digest
    assert not is_reordered(indexed(IMAGE))


def test_a_reordered_image_remembers_the_first_config():
    made = indexed(reordered_manifest(IMAGE, [], NEW))
    assert (made.config.digest, original_config(made)) == (NEW.digest, OLD.digest)
    assert is_reordered(made)
    assert made.annotations["kept"] == "yes"


def test_an_image_that_is_reordered_twice_still_knows_the_first_config():
    twice = indexed(reordered_manifest(indexed(reordered_manifest(IMAGE, [], NEW)), [], NEWER))
    assert (twice.config.digest, original_config(twice)) == (NEWER.digest, OLD.digest)


def test_without_a_soci_index_an_image_is_an_original():
    left = reordered_manifest(IMAGE, [], NEW)
    assert original_config(left) == NEW.digest
    assert original_config(indexed(reordered_manifest(left, [], NEWER))) == NEW.digest


def test_a_broken_name_of_an_original_does_not_count():
    broken = indexed(replace(IMAGE, annotations={ORIGINAL_CONFIG_DIGEST: "sha256:no"}))
    assert original_config(broken) == OLD.digest
