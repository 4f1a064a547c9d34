from __future__ import annotations

import pytest

from soci.errors import NotInImage, SizeMismatch, SourceError
from soci.oci.integrity import checked
from soci.places.layout.oci_archive import OciArchive
from tests.image_files import Image, describe, entry_of, layout_files, tar_of

IMAGE = Image(layers=(tar_of({"a": b"1" * 3_000_000}),))


def archive_of(tmp_path, image=IMAGE, prefix=""):
    files = layout_files(image.blobs, [entry_of(image, tag="latest")])
    path = tmp_path / "image.tar"
    path.write_bytes(tar_of({prefix + name: content for name, content in files.items()}))
    return path


@pytest.mark.parametrize("prefix", ["", "./"])
def test_an_image_is_read_with_and_without_leading_dots(tmp_path, prefix):
    source = OciArchive(archive_of(tmp_path, prefix=prefix), tag="latest")

    assert source.fetch_root().digest == IMAGE.root.digest
    assert source.fetch_manifest(IMAGE.root) == IMAGE.manifest


def test_a_digest_names_a_manifest_in_the_archive(tmp_path):
    assert OciArchive(archive_of(tmp_path), digest=IMAGE.root.digest).fetch_root().digest == IMAGE.root.digest
    with pytest.raises(NotInImage, match="no manifest sha256:"):
        OciArchive(archive_of(tmp_path), digest=describe(b"absent").digest).fetch_root()


def test_a_tar_of_something_else_is_refused(tmp_path):
    path = tmp_path / "a.tar"
    path.write_bytes(tar_of({"a": b"1"}))

    with pytest.raises(SourceError, match="not an OCI layout, it has no file oci-layout"):
        OciArchive(path).fetch_root()


def test_an_archive_truncated_after_opening_is_an_error(tmp_path):
    path = archive_of(tmp_path)
    source = OciArchive(path)
    layer = describe(IMAGE.layers[0])
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 2_000_000)

    with pytest.raises(SizeMismatch), source.open_blob(layer) as chunks:
        list(checked(layer, chunks))
