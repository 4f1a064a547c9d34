from __future__ import annotations

import json
import os
import resource
import threading
from pathlib import Path

import pytest

from soci.errors import (
    BlobMissing,
    DigestMismatch,
    InvalidDocument,
    NotInImage,
    SizeMismatch,
    SourceError,
    StorageError,
)
from soci.oci import media_types
from soci.oci.digest import digest_of
from soci.places.layout.oci_layout import OciLayout
from tests.image_files import Image, describe, entry_of, layout_files, tar_of, write_files, write_layout

IMAGE = Image(layers=(tar_of({"a": b"1"}), tar_of({"b": b"2"})))
OTHER = Image(layers=IMAGE.layers, architecture="arm64")


def push_image(layout: OciLayout, image: Image, tag: str | None) -> None:
    for blob in image.blobs[1:]:
        layout.push_blob(describe(blob), iter([blob]))
    layout.push_manifest(image.root, image.manifest)
    layout.push_root(image.root, tag)


def files_in(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


class Interrupted(BaseException):
    """Stands for a key press in the middle of a write."""


# Reading


def test_a_digest_names_any_manifest_in_the_layout(tmp_path):
    write_files(tmp_path, layout_files([*IMAGE.blobs, *OTHER.blobs], [entry_of(IMAGE, tag="t")]))

    assert OciLayout(tmp_path, digest=IMAGE.root.digest).fetch_root().annotations
    assert OciLayout(tmp_path, digest=OTHER.root.digest).fetch_root() == OTHER.root


@pytest.mark.parametrize(
    ("content", "error", "problem"),
    [
        pytest.param(None, NotInImage, "no manifest sha256:", id="absent"),
        pytest.param(b"{}", InvalidDocument, "schemaVersion", id="some other document"),
        pytest.param(b"x" * (4 * 1024 * 1024 + 1), InvalidDocument, "too many for a manifest", id="a layer"),
    ],
)
def test_a_digest_that_is_no_manifest_is_refused(tmp_path, content, error, problem):
    write_layout(tmp_path, IMAGE)
    blob = content or b"absent"
    if content is not None:
        write_files(tmp_path, layout_files([content], [entry_of(IMAGE, tag="t")]))

    with pytest.raises(error, match=problem):
        OciLayout(tmp_path, digest=digest_of(blob)).fetch_root()


def test_a_manifest_with_other_bytes_is_refused(tmp_path):
    write_layout(tmp_path, IMAGE)
    (tmp_path / "blobs/sha256" / IMAGE.root.digest.hex).write_bytes(
        IMAGE.manifest.replace(b"layers", b"LAYERS")
    )

    with pytest.raises(DigestMismatch):
        OciLayout(tmp_path).fetch_manifest(IMAGE.root)


def test_an_entry_without_a_media_type_gets_that_of_its_document(tmp_path):
    entry = {name: value for name, value in entry_of(IMAGE, tag="t").items() if name != "mediaType"}
    write_files(tmp_path, layout_files(IMAGE.blobs, [entry]))

    assert OciLayout(tmp_path).fetch_root().media_type == media_types.OCI_MANIFEST


@pytest.mark.parametrize(
    ("files", "error", "problem"),
    [
        pytest.param({}, SourceError, "not an OCI layout, it has no file oci-layout", id="empty directory"),
        pytest.param({"oci-layout": b"{}"}, InvalidDocument, "expected 1.0.0, got ''", id="no version"),
        pytest.param(
            {"oci-layout": b'{"imageLayoutVersion":"2.0.0"}'},
            InvalidDocument,
            "got '2.0.0'",
            id="other version",
        ),
        pytest.param({"oci-layout": b" " * 5000}, InvalidDocument, "the limit", id="huge marker"),
        pytest.param(
            {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'},
            SourceError,
            "no file index.json",
            id="no index",
        ),
        pytest.param({"index.json": b"[1"}, InvalidDocument, "index.json: not valid JSON", id="broken index"),
        pytest.param({"index.json": b" " * (4 * 1024 * 1024 + 5)}, InvalidDocument, "limit", id="huge index"),
    ],
)
def test_a_directory_without_a_layout_is_refused(tmp_path, files, error, problem):
    if "index.json" in files:
        write_layout(tmp_path, IMAGE)
    write_files(tmp_path, files)

    with pytest.raises(error, match=problem):
        OciLayout(tmp_path).fetch_root()


def test_blobs_may_be_symbolic_links(tmp_path):
    layout = write_layout(tmp_path / "layout", IMAGE)
    blob = layout / "blobs/sha256" / IMAGE.root.digest.hex
    blob.rename(tmp_path / "elsewhere")
    blob.symlink_to(tmp_path / "elsewhere")

    assert OciLayout(layout).fetch_manifest(IMAGE.root) == IMAGE.manifest


def test_a_directory_with_the_name_of_a_blob_is_no_blob(tmp_path):
    layout = write_layout(tmp_path, IMAGE)
    blob = layout / "blobs/sha256" / IMAGE.root.digest.hex
    blob.unlink()
    blob.mkdir()

    assert not OciLayout(layout).has_blob(IMAGE.root)


def test_an_error_of_the_file_system_is_a_storage_error_with_the_path(tmp_path):
    layout = write_layout(tmp_path, IMAGE)
    loop = layout / "blobs/sha256" / IMAGE.root.digest.hex
    loop.unlink()
    loop.symlink_to(loop)

    with pytest.raises(StorageError, match=f"{loop}: Too many levels of symbolic links"):
        OciLayout(layout).fetch_manifest(IMAGE.root)


def test_an_error_of_the_caller_is_not_a_storage_error(tmp_path):
    source = OciLayout(write_layout(tmp_path, IMAGE))

    with (
        pytest.raises(ConnectionResetError),
        source.open_blob(describe(IMAGE.layers[0])),
    ):  # whoever reads is the body
        raise ConnectionResetError


# Writing


@pytest.mark.parametrize("state", ["absent", "empty", "below absent directories"])
def test_a_layout_is_created_in_an_empty_or_missing_directory(tmp_path, state):
    path = tmp_path / {"absent": "new", "empty": ".", "below absent directories": "a/b/c"}[state]

    push_image(OciLayout(path), IMAGE, "latest")

    assert json.loads((path / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    assert json.loads((path / "index.json").read_text())["manifests"] == [entry_of(IMAGE, tag="latest")]
    assert OciLayout(path).fetch_root().digest == IMAGE.root.digest
    assert len(files_in(path)) == 2 + len(IMAGE.blobs)


def test_a_directory_with_other_files_is_not_written_to(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    layout = OciLayout(tmp_path)

    for refused in (layout.check_writable, lambda: push_image(layout, IMAGE, "t")):
        with pytest.raises(StorageError, match="not an OCI layout; nothing is written"):
            refused()
    assert files_in(tmp_path) == {"mine.txt"}


def test_a_file_with_the_name_of_the_layout_is_refused(tmp_path):
    path = tmp_path / "file"
    path.write_text("x")

    with pytest.raises(StorageError, match=f"{path}: Not a directory"):
        OciLayout(path).check_writable()


def test_a_layout_of_another_version_is_not_written_to(tmp_path):
    write_files(tmp_path, {"oci-layout": b'{"imageLayoutVersion":"9"}'})

    with pytest.raises(InvalidDocument, match=r"expected 1\.0\.0, got '9'"):
        OciLayout(tmp_path).check_writable()


def test_checking_creates_nothing(tmp_path):
    OciLayout(tmp_path / "new").check_writable()

    assert not (tmp_path / "new").exists()


def test_nothing_is_an_image_before_the_root_is_pushed(tmp_path):
    write_layout(tmp_path, IMAGE)
    before = (tmp_path / "index.json").read_bytes()
    layout = OciLayout(tmp_path)

    layout.push_blob(describe(OTHER.config), [OTHER.config])
    layout.push_manifest(OTHER.root, OTHER.manifest)

    assert (tmp_path / "index.json").read_bytes() == before


def test_the_source_itself_can_be_written_to(tmp_path):
    layout = OciLayout(write_layout(tmp_path, IMAGE))

    push_image(layout, OTHER, "latest-soci")

    assert OciLayout(tmp_path, tag="latest").fetch_root().digest == IMAGE.root.digest
    assert OciLayout(tmp_path, tag="latest-soci").fetch_root().digest == OTHER.root.digest


def test_pushing_again_changes_nothing(tmp_path):
    layout = OciLayout(tmp_path)
    push_image(layout, IMAGE, "t")
    before = {name: (tmp_path / name).read_bytes() for name in files_in(tmp_path)}

    push_image(layout, IMAGE, "t")

    assert {name: (tmp_path / name).read_bytes() for name in files_in(tmp_path)} == before


def broken_off(error: BaseException):
    yield b"so"
    raise error


@pytest.mark.parametrize(
    ("chunks", "error"),
    [
        pytest.param([b"som"], SizeMismatch, id="too short"),
        pytest.param([b"some", b"more"], SizeMismatch, id="too long"),
        pytest.param([b"SOME"], DigestMismatch, id="other bytes"),
        pytest.param(broken_off(ConnectionResetError()), ConnectionResetError, id="source fails"),
        pytest.param(broken_off(Interrupted()), Interrupted, id="interrupted"),
    ],
)
def test_an_incomplete_blob_leaves_nothing_behind(tmp_path, chunks, error):
    layout = OciLayout(write_layout(tmp_path, IMAGE))
    before = files_in(tmp_path)

    with pytest.raises(error):
        layout.push_blob(describe(b"some"), chunks)

    assert files_in(tmp_path) == before
    assert not layout.has_blob(describe(b"some"))


def test_a_blob_of_the_wrong_size_counts_as_absent_and_is_replaced(tmp_path):
    layout = OciLayout(write_layout(tmp_path, IMAGE))
    layer = describe(IMAGE.layers[0])
    (tmp_path / "blobs/sha256" / layer.digest.hex).write_bytes(b"cut")

    assert not layout.has_blob(layer)
    layout.push_blob(layer, [IMAGE.layers[0]])
    assert layout.has_blob(layer)


def test_a_root_that_was_not_pushed_is_refused(tmp_path):
    layout = OciLayout(write_layout(tmp_path, IMAGE))

    with pytest.raises(BlobMissing, match=r"to add to index\.json"):
        layout.push_root(OTHER.root, "t")


def test_blobs_of_other_algorithms_have_their_own_directory(tmp_path):
    layout = OciLayout(tmp_path)
    blob = describe(b"some")
    longer = type(blob)(media_type="m", digest=digest_of(b"some", "sha512"), size=4)

    layout.push_blob(longer, [b"some"])

    assert (tmp_path / "blobs/sha512" / longer.digest.hex).read_bytes() == b"some"


def test_files_have_the_permissions_of_the_umask(tmp_path):
    before = os.umask(0o022)
    try:
        push_image(OciLayout(tmp_path / "new"), IMAGE, "t")
    finally:
        os.umask(before)

    modes = {(tmp_path / "new" / name).stat().st_mode & 0o777 for name in files_in(tmp_path / "new")}
    assert modes == {0o644}


def test_a_full_disk_is_a_storage_error_and_leaves_nothing_behind(tmp_path):
    layout = OciLayout(write_layout(tmp_path, IMAGE))
    before = files_in(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    content = b"x" * 200_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(StorageError, match="File too large"):
            layout.push_blob(describe(content), [content])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert files_in(tmp_path) == before


def test_concurrent_writers_lose_no_entries(tmp_path):
    images = [Image(layers=(), architecture=f"a{i}") for i in range(16)]
    start = threading.Barrier(len(images))

    def write(image: Image) -> None:
        start.wait()
        push_image(OciLayout(tmp_path / "new"), image, image.architecture)

    writers = [threading.Thread(target=write, args=(image,)) for image in images]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    found = {
        i.architecture: OciLayout(tmp_path / "new", tag=i.architecture).fetch_root().digest for i in images
    }
    assert found == {image.architecture: image.root.digest for image in images}
