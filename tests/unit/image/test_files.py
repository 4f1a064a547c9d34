from __future__ import annotations

import tarfile

import pytest
import zstandard

from soci.errors import DigestMismatch, GzipError, NotInImage, TarError, ZstdError
from soci.image.files import ImageFiles, contents_of_layer, open_image_files
from soci.image.filesystem import Node
from soci.image.indexed import open_image
from soci.places.layout.oci_layout import OciLayout
from soci.reasons import Reason
from soci.ztoc.decode import decode_ztoc
from tests.builders import (
    Image,
    describe,
    device,
    file,
    gzip_of,
    hardlink,
    image_of,
    index_layer,
    layout_of,
    special,
    symlink,
    tar_of,
    text,
    whiteout,
    with_soci_index,
)

LOWER = tar_of(
    file("./bin/app", text(9_000_000, "app"), mode=0o755, mtime=1.5),
    file("bin/old"),
    hardlink("bin/link", "./bin/app"),
    symlink("app", "bin/link"),
    device("dev/null"),
    file("nothing"),
    file("xattr", b"x", pax={"SCHILY.xattr.user.k": "v"}, uid=2**31, gid=5),
)
UPPER = tar_of(whiteout("bin/old"), file("bin/new", b"new"), file("empty"))
ZSTD = zstandard.compress(LOWER)

FLAVOURS = {
    "plain": LOWER,
    "gzip": gzip_of(LOWER, level=1),
    "members": gzip_of(LOWER, level=1, members=20),
    "empty-first-block": gzip_of(LOWER, level=1, flush_at=[0]),
}
each_flavour = pytest.mark.parametrize("layer", FLAVOURS.values(), ids=FLAVOURS.keys())


@pytest.fixture
def opened(tmp_path):
    def open_(image: Image) -> ImageFiles:
        source = OciLayout(layout_of(tmp_path, image), tag="latest")
        return open_image_files(source, open_image(source))

    return open_


def content(files: ImageFiles, path: str) -> bytes:
    return b"".join(files.read(files.tree.lookup(path.encode())))


@each_flavour
def test_a_layer_without_ztoc_shows_the_same_entries_as_its_ztoc(tmp_path, layer):
    source = OciLayout(layout_of(tmp_path, image_of(layer)))

    found = contents_of_layer(source, describe(layer, "any")).entries

    assert found == decode_ztoc(index_layer(gzip_of(LOWER)).ztoc).files


@pytest.mark.parametrize(
    ("flavour", "skip"),
    [(name, [0]) for name in FLAVOURS] + [(name, []) for name in FLAVOURS if name != "empty-first-block"],
    ids=lambda value: value if isinstance(value, str) else "streamed" if value else "indexed",
)
def test_files_of_any_layer_can_be_read(opened, flavour, skip):
    files = opened(with_soci_index(image_of(FLAVOURS[flavour], UPPER), skip=skip))

    assert content(files, "app") == text(9_000_000, "app")
    assert content(files, "bin/new") == b"new"
    assert content(files, "empty") == content(files, "nothing") == b""
    assert content(files, "xattr") == b"x"


def test_a_layer_with_ztoc_may_lie_on_one_without(opened):
    image = image_of(gzip_of(LOWER), gzip_of(UPPER))
    files = opened(with_soci_index(image, skip=[0]))

    assert content(files, "bin/app") == text(9_000_000, "app")
    with pytest.raises(NotInImage, match="/bin/old"):
        files.tree.lookup(b"bin/old")


def test_only_files_have_content(opened):
    files = opened(image_of(LOWER))

    for path, kind in ((b"bin", "dir"), (b"dev/null", "char")):
        with pytest.raises(NotInImage, match=f"is no file, its type is {kind}"):
            list(files.read(files.tree.lookup(path)))
    with pytest.raises(NotInImage, match="type is symlink"):
        list(files.read(files.tree.lookup(b"app", follow=False)))


def test_a_hard_link_to_nothing_cannot_be_read(opened):
    files = opened(image_of(tar_of(hardlink("a", "nowhere"))))

    with pytest.raises(NotInImage, match="type is hardlink"):
        list(files.read(files.tree.lookup(b"a")))


def test_a_zstd_layer_is_read_whole(opened):
    assert list(opened(image_of(ZSTD)).tree.walk())


def test_a_damaged_zstd_layer_is_an_error(opened):
    with pytest.raises(ZstdError, match="zstd stream is damaged"):
        opened(image_of(ZSTD[:6] + bytes(40) + ZSTD[46:]))


def test_an_empty_layer_holds_nothing(opened):
    assert list(opened(image_of(b"")).tree.walk()) == []


@pytest.mark.parametrize("type_", [b"g", b"S", b"7"], ids=["global-header", "sparse", "contiguous"])
def test_files_after_an_unreadable_entry_are_reported_as_missing(opened, type_):
    files = opened(image_of(tar_of(file("a"), special("odd", type_), file("b"))))

    assert [str(node) for node in files.tree.walk()] == ["/a"]
    assert files.left_out[0].reason in Reason


def test_a_readable_layer_reports_nothing_missing(opened):
    assert opened(with_soci_index(image_of(gzip_of(LOWER), UPPER), skip=[1])).left_out == {}


@pytest.mark.parametrize(
    ("layer", "error"),
    [(gzip_of(LOWER)[:-1], GzipError), (LOWER[:3000], TarError), (bytes(100), TarError)],
    ids=["cut-gzip", "cut-tar", "no-tar"],
)
def test_a_damaged_layer_is_an_error(tmp_path, layer, error):
    source = OciLayout(layout_of(tmp_path, image_of(LOWER)))
    descriptor = describe(layer, "any")
    (tmp_path / "blobs" / "sha256" / descriptor.digest.hex).write_bytes(layer)

    with pytest.raises(error):
        contents_of_layer(source, descriptor)


def test_a_layer_with_another_digest_is_an_error(tmp_path):
    changed = bytearray(LOWER)
    changed[2000] ^= 1
    image = image_of(LOWER)
    source = OciLayout(layout_of(tmp_path, image.damaged(describe(LOWER, "").digest, bytes(changed))))

    with pytest.raises(DigestMismatch):
        contents_of_layer(source, describe(LOWER, "any"))


def test_a_layer_that_has_become_shorter_is_an_error(tmp_path, opened):
    layer = tar_of(file("a", bytes(9_000_000)), format=tarfile.USTAR_FORMAT)
    files = opened(image_of(layer))
    node: Node = files.tree.lookup(b"a")
    path = tmp_path / "blobs" / "sha256" / describe(layer, "").digest.hex
    reading = files.read(node)
    next(reading)
    path.write_bytes(layer[:6_000_000])

    with pytest.raises(TarError, match="ends at byte"):
        list(reading)
