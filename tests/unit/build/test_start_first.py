from __future__ import annotations

import gzip
import json
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zstandard

from soci.build import start_first
from soci.errors import DigestMismatch, IntegrityError, InvalidOption, NotInImage
from soci.image.documents import fetch_image
from soci.image.files import open_image_files, open_layer_files
from soci.image.indexed import open_image
from soci.index.prefetch import parse_prefetch
from soci.oci import media_types
from soci.oci.annotations import ORIGINAL_CONFIG_DIGEST
from soci.oci.digest import Digest, digest_of
from soci.oci.image_config import ImageConfig
from soci.places.layout.oci_layout import OciLayout
from soci.service.filter.conversion import is_conversion_of
from soci.settings import ZstdLayers
from soci.start.prefetch_source import UsedProfile
from soci.start.profile import FileRead, make_profile
from soci.upkeep.remove import TaggedSource, Target, fetch_removal, remove_index
from soci.verify import verify_image
from tests.builders import (
    Image,
    describe,
    directory,
    file,
    gzip_of,
    hardlink,
    image_of,
    layout_of,
    multi_platform,
    noise,
    opaque,
    symlink,
    tar_of,
    whiteout,
)
from tests.recipes import CONVERTED, blobs_of, convert_layout, create_in_layout, document_in

KIB = 1 << 10
LIB = ["/lib/f30", "/lib/f10", "/lib/f20"]
READ = [*LIB[:2], "/link", LIB[2], "/top/new", "/gone"]

LOWER = tar_of(
    directory("lib/"),
    *(file(f"lib/f{number}", noise(32 * KIB, str(number)), mtime=number) for number in range(10, 40)),
    hardlink("hard", "lib/f35"),
    directory("top/"),
    file("top/old", b"old"),
)
UPPER = tar_of(
    symlink("link", "top/late"),
    directory("top/", mode=0o711),
    opaque("top"),
    *(file(f"top/f{number}", noise(32 * KIB, f"top {number}")) for number in range(10)),
    file("top/new", b"n" * 700, pax={"SCHILY.xattr.user.k": "v"}),
    *(file(f"top/g{number}", noise(32 * KIB, f"top {number + 10}")) for number in range(10)),
    file("top/late", noise(9 * KIB, "late")),
    whiteout("lib/f39"),
)


def profile_of(*paths: str) -> UsedProfile:
    reads = [FileRead(path=path.encode(), first_ms=ms, last_ms=ms) for ms, path in enumerate(paths)]
    return UsedProfile(profile=make_profile(reads), digest=digest_of(repr(paths).encode()))


def write(tmp_path: Path, *layers: bytes, **options: Any) -> Path:
    return layout_of(tmp_path / "layout", image_of(*layers, **options))


def convert(layout: Path, *paths: str, **options: Any):
    """Convert the image with a profile of these files for each of its platforms."""
    images = fetch_image(OciLayout(layout, tag="latest")).images
    profiles = {one.descriptor.digest: profile_of(*(paths or READ)) for one in images}
    return convert_layout(layout, **{"profiles": profiles, "start_first": True, **options})


def files_in(layout: Path, tag: str) -> dict[bytes, tuple[object, ...]]:
    """The merged files of an image with their content."""
    source = OciLayout(layout, tag=tag)
    files = open_image_files(source, open_image(source))
    found: dict[bytes, tuple[object, ...]] = {}
    for node in files.tree.walk():
        data = b"".join(files.read(node)) if node.type == "reg" and node.data else b""
        entries = (one._replace(uncompressed_offset=0) if one else None for one in (node.entry, node.data))
        found[node.path] = (*entries, node.layer, node.data_layer, data)
    return found


def manifest_in(layout: Path, tag: str):
    return open_image(OciLayout(layout, tag=tag)).image.manifest


@pytest.fixture
def layout(tmp_path):
    return write(tmp_path, gzip_of(LOWER), UPPER)


def test_the_files_of_the_start_come_first_and_all_files_are_the_same(layout):
    before = blobs_of(layout)

    result = convert(layout)

    assert files_in(layout, CONVERTED) == files_in(layout, "latest")
    report = verify_image(OciLayout(layout, tag=CONVERTED), compare_files=True)
    assert report.is_sound, report.findings
    assert before.items() <= blobs_of(layout).items()
    assert [layer.front and layer.front.left for layer in result.each_layer] == [0, 0]
    source = OciLayout(layout, tag=CONVERTED)
    opened = [open_layer_files(source, layer) for layer in open_image(source).layers]
    entries = [[entry.name.decode() for entry in one.entries[:5]] for one in opened]
    assert entries[0] == ["lib/", "lib/f30", "lib/f10", "lib/f20", "lib/f11"]
    assert entries[1] == ["top/", "top/.wh..wh..opq", "top/late", "top/new", "link"]


def test_the_config_changes_in_its_diff_ids_only(layout):
    convert(layout)

    old, new = (manifest_in(layout, tag) for tag in ("latest", CONVERTED))
    before, after = (document_in(layout, one.config.digest) for one in (old, new))
    assert before["rootfs"].pop("diff_ids") != after["rootfs"].pop("diff_ids")
    assert before == after
    assert new.annotations[ORIGINAL_CONFIG_DIGEST] == str(old.config.digest)
    assert [layer.media_type for layer in new.layers or ()] == [media_types.OCI_LAYER_GZIP] * 2
    diff_ids = ImageConfig.parse(OciLayout(layout, tag=CONVERTED).fetch_manifest(new.config)).diff_ids
    tars = [gzip.decompress(blobs_of(layout)[str(layer.digest)]) for layer in new.layers or ()]
    assert list(diff_ids) == [digest_of(tar) for tar in tars]


def test_the_prefetch_is_the_front_of_each_layer(layout):
    convert(layout)

    source = OciLayout(layout, tag=CONVERTED)
    for layer in open_image(source).layers:
        assert layer.prefetch is not None
        data = source.fetch_range(layer.prefetch, 0, layer.prefetch.size)
        (ranges,) = parse_prefetch(data, span_count=100)
        assert ranges.start == 0
        assert ranges.end <= 1


def test_the_same_image_and_profile_give_the_same_bytes(layout, tmp_path):
    other = write(tmp_path / "other", gzip_of(LOWER), UPPER)
    assert convert(layout).root == convert(other).root


def test_layers_that_a_start_needs_nothing_of_stay(layout):
    convert(layout, *LIB)

    old, new = ((*(manifest_in(layout, tag).layers or ()),) for tag in ("latest", CONVERTED))
    assert old[0] != new[0]
    assert old[1] == new[1]


def test_if_no_layer_is_worth_it_the_image_keeps_its_config(layout):
    convert(layout, "/gone")

    assert manifest_in(layout, CONVERTED).config == manifest_in(layout, "latest").config


def test_the_front_is_written_in_parts_of_bounded_size(layout, monkeypatch, tmp_path):
    made = convert(layout)
    monkeypatch.setattr(start_first, "FRONT_BYTES", 40 * KIB)
    other = write(tmp_path / "other", gzip_of(LOWER), UPPER)
    assert convert(other).root == made.root


def test_zstd_layers_are_recompressed_and_reordered_at_once(tmp_path, layout):
    zstd = write(
        tmp_path / "zstd",
        zstandard.compress(LOWER),
        UPPER,
        layer_types={0: media_types.OCI_LAYER_ZSTD},
    )

    convert(zstd, zstd_layers=ZstdLayers.RECOMPRESS)
    convert(layout)

    assert manifest_in(zstd, CONVERTED).layers == manifest_in(layout, CONVERTED).layers
    assert all(len(Path(name).name) > 60 for name in blobs_of(zstd)), "no upload is left over"


@pytest.mark.parametrize("number", [2, 3])
def test_a_zstd_layer_with_other_bytes_when_it_is_read_again_is_refused(tmp_path, monkeypatch, number):
    blob = zstandard.compress(LOWER)
    good = noise(32 * KIB, "10")
    assert good in LOWER
    bad = zstandard.compress(LOWER.replace(good, b"EVIL" + good[4:]))
    zstd = write(tmp_path / "zstd", blob, UPPER, layer_types={0: media_types.OCI_LAYER_ZSTD})
    readings: list[Digest] = []
    open_blob = OciLayout.open_blob

    @contextmanager
    def other_bytes_once(self, layer):
        with open_blob(self, layer) as pieces:
            readings.append(layer.digest)
            is_bad = readings.count(digest_of(blob)) == number and layer.digest == digest_of(blob)
            yield iter([bad]) if is_bad else pieces

    monkeypatch.setattr(OciLayout, "open_blob", other_bytes_once)

    with pytest.raises(IntegrityError, match="the content's digest is"):
        convert(zstd, zstd_layers=ZstdLayers.RECOMPRESS)

    assert readings.count(digest_of(blob)) == number
    assert all(len(Path(name).name) > 60 for name in blobs_of(zstd)), "no upload is left over"
    with pytest.raises(NotInImage):
        OciLayout(zstd, tag=CONVERTED).fetch_root()


def test_a_layer_of_two_platforms_is_written_for_each(tmp_path):
    layer, types = zstandard.compress(LOWER), {0: media_types.OCI_LAYER_ZSTD}
    images = [image_of(layer, platform=one, layer_types=types) for one in ("linux/amd64", "linux/arm64")]
    layout = layout_of(tmp_path / "layout", multi_platform(*images))
    amd64, arm64 = fetch_image(OciLayout(layout, tag="latest")).images
    profiles = {amd64.descriptor.digest: profile_of(*LIB)}

    convert(layout, profiles=profiles, zstd_layers=ZstdLayers.RECOMPRESS)

    first, second = fetch_image(OciLayout(layout, tag=CONVERTED)).images
    assert first.manifest.layers != second.manifest.layers
    assert second.manifest.config == arm64.manifest.config
    assert verify_image(OciLayout(layout, tag=CONVERTED), compare_files=True).is_sound


def test_a_layer_with_another_tar_than_the_config_lists_is_refused(tmp_path):
    image = image_of(gzip_of(LOWER))
    other = image_of(gzip_of(UPPER))
    manifest = json.loads(image.document)
    config = json.loads(other.document)["config"]
    document = json.dumps({**manifest, "config": config}).encode()
    wrong = Image(
        root=describe(document, media_types.OCI_MANIFEST),
        blobs={**image.blobs, **other.blobs, digest_of(document): document},
    )
    layout = layout_of(tmp_path / "layout", wrong)
    before = blobs_of(layout)

    with pytest.raises(DigestMismatch, match="the image's config says"):
        convert(layout)

    assert blobs_of(layout) == before, "no upload is left over"


def test_without_a_profile_it_is_refused_before_anything_is_read(layout):
    before = blobs_of(layout)
    with pytest.raises(InvalidOption, match="no start profile for linux/amd64"):
        convert(layout, profiles={})
    assert blobs_of(layout) == before


def test_version_1_refuses_it(layout):
    with pytest.raises(InvalidOption, match="version 2"):
        create_in_layout(layout, start_first=True)


def test_the_converted_image_is_recognised_and_removed_whole(layout):
    before = blobs_of(layout)
    convert(layout)
    store = OciLayout(layout, tag="latest")
    converted = OciLayout(layout, tag=CONVERTED)
    assert is_conversion_of(converted, fetch_image(store))

    target = Target(
        store=store,
        image=fetch_image(store),
        tag="latest",
        converted=TaggedSource(source=converted, tag=CONVERTED),
    )
    remove_index(target, fetch_removal(target))

    assert blobs_of(layout) == before


def test_a_converted_image_is_converted_again_and_still_knows_its_original(layout):
    convert(layout)
    again = OciLayout(layout, tag=CONVERTED)
    digest = fetch_image(again).images[0].descriptor.digest

    convert_layout(
        layout,
        of=CONVERTED,
        tag="again",
        start_first=True,
        profiles={digest: profile_of("/lib/f15", "/lib/f37", "/lib/f25")},
    )

    assert files_in(layout, "again") == files_in(layout, "latest")
    assert is_conversion_of(OciLayout(layout, tag="again"), fetch_image(again)) is False
    named = manifest_in(layout, "again").annotations[ORIGINAL_CONFIG_DIGEST]
    assert named == str(manifest_in(layout, "latest").config.digest)


def test_the_layers_are_copied_to_another_place(layout, tmp_path):
    convert(layout, to=tmp_path / "other")
    assert files_in(tmp_path / "other", CONVERTED) == files_in(layout, "latest")
