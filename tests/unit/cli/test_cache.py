"""`--cache DIR`: a zTOC is made once for a layer and its settings, from run to run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import zstandard

from soci.build.plan import PlannedLayer
from soci.build.reuse import reuse_key
from soci.cli.ztoc_directory import ZtocDirectory
from soci.oci import media_types
from soci.oci.compression import Compression
from soci.oci.digest import digest_of
from soci.places.layout.oci_layout import OciLayout
from soci.settings import IndexSettings
from soci.verify import verify_image
from tests.builders import (
    describe,
    file,
    gzip_of,
    image_of,
    index_layer,
    layout_of,
    noise,
    opaque,
    special,
    tar_of,
    text,
)
from tests.recipes import files_of

BASE = gzip_of(
    tar_of(opaque("etc"), file("etc/base", text(400_000)), file("etc/aa", b"one"), file("etc/bb", b"two"))
)
FIRST, SECOND = (gzip_of(tar_of(file("app", text(200_000, name)))) for name in ("first", "second"))
FLAGS = ("--min-layer-size", "0", "--span-size", "64KiB")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "of ztocs"


@pytest.fixture
def convert(soci_index, tmp_path, cache):
    """Convert an image of some layers, each time in another layout, with the cache unless told otherwise."""
    numbers = iter(range(100))

    def command(*layers: bytes, flags: tuple[object, ...] = (), cached: bool = True, **options: Any) -> Any:
        path = layout_of(tmp_path / f"image-{next(numbers)}", image_of(*layers, **options))
        where = ("--cache", cache) if cached else ()
        document = soci_index("convert", f"oci:{path}:latest", *FLAGS, *flags, *where, "--json").document
        assert verify_image(OciLayout(path, tag="latest-soci"), compare_files=True).is_sound
        return document

    return command


def reused(document: Any) -> list[bool]:
    return [layer.get("reused", False) for layer in document["layers"]]


def kept(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("*") if path.is_file())


def test_layers_that_were_indexed_before_are_not_indexed_again(convert):
    first = convert(BASE, FIRST)

    second = convert(BASE, SECOND)

    assert (reused(first), reused(second)) == ([False, False], [True, False])
    assert reused(convert(BASE, SECOND)) == [True, True]


def test_the_result_is_the_same_to_the_byte(convert):
    flags = ("--optimizations", "xattr")
    convert(BASE, FIRST, flags=flags)

    again, without = convert(BASE, FIRST, flags=flags), convert(BASE, FIRST, flags=flags, cached=False)

    assert again["digest"] == without["digest"]
    for mine, other in zip(again["layers"], without["layers"], strict=True):
        assert {**mine["ztoc"], "seconds": 0} == {**other["ztoc"], "seconds": 0}


def test_version_1_uses_what_version_2_has_kept(soci_index, convert, tmp_path, cache):
    convert(BASE)
    path = layout_of(tmp_path / "other", image_of(BASE))

    document = soci_index("create", f"oci:{path}:latest", *FLAGS, "--cache", cache, "--json").document

    assert reused(document) == [True]


def test_a_table_names_the_layers_from_the_cache(soci_index, convert, tmp_path, cache):
    convert(BASE)
    path = layout_of(tmp_path / "other", image_of(BASE))

    lines = soci_index("convert", f"oci:{path}:latest", *FLAGS, "--cache", cache).stdout.splitlines()

    assert lines[2].endswith("from the cache")


def test_a_kept_file_holds_the_ztoc_in_a_folder_of_its_layer(convert, cache):
    document = convert(BASE)

    (path,) = kept(cache)
    assert str(digest_of(path.read_bytes())) == document["layers"][0]["ztoc"]["digest"]
    assert path.parent.name == f"sha256-{digest_of(BASE).hex}"


@pytest.mark.parametrize(
    "flags",
    [("--span-size", "128KiB"), ("--build-tool", "Another"), ("--multi-member", "leave-out")],
    ids=str,
)
def test_other_settings_are_another_ztoc(convert, cache, flags):
    convert(BASE)

    assert reused(convert(BASE, flags=flags)) == [False]
    assert reused(convert(BASE, flags=flags)) == [True]
    assert len(kept(cache)) == 2


KEY = reuse_key(
    PlannedLayer(descriptor=describe(BASE, media_types.OCI_LAYER_GZIP), decision=Compression.GZIP),
    IndexSettings(min_layer_size_bytes=0, span_size_bytes=65_536),
)


def swapped(path: Path, ztoc: bytes | bytearray) -> None:
    """Put another zTOC in the place of one, as the command itself would have."""
    path.unlink()
    ZtocDirectory(path.parent.parent).keep(KEY, ztoc)


def renamed(path: Path) -> None:
    """Give two files of the layer each other's name."""
    ztoc, names = path.read_bytes(), (b"etc/aa", b"etc/bb")
    assert [ztoc.count(name) for name in names] == [1, 1]
    path.write_bytes(
        ztoc.replace(names[0], b"??????").replace(names[1], names[0]).replace(b"??????", names[1])
    )


def moved(path: Path) -> None:
    """Put the file of a zTOC for other settings in the place of this one, its name after the settings and all."""
    other = index_layer(BASE, span_size_bytes=131_072).ztoc
    key = reuse_key(PlannedLayer(descriptor=describe(FIRST, ""), decision=Compression.GZIP), IndexSettings())
    ZtocDirectory(path.parents[2] / "another").keep(key, other)
    (file_there,) = kept(path.parents[2] / "another")
    path.write_bytes(other)
    path.rename(path.with_name(f"{path.name.partition('-')[0]}-{file_there.name.partition('-')[2]}"))


DAMAGE = {
    "two files with each other's names": renamed,
    "of another place": moved,
    "a wrong byte": lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?"),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "empty": lambda path: path.write_bytes(b""),
    "of another layer": lambda path: swapped(path, index_layer(FIRST, span_size_bytes=65_536).ztoc),
    "of other settings": lambda path: swapped(path, index_layer(BASE, span_size_bytes=131_072).ztoc),
    "no zTOC": lambda path: swapped(path, b"no zTOC"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_is_replaced(convert, cache, kind):
    clean = convert(BASE)
    assert ZtocDirectory(cache).find(KEY) == kept(cache)[0].read_bytes()
    DAMAGE[kind](kept(cache)[0])

    again = convert(BASE)

    assert (reused(again), again["digest"]) == ([False], clean["digest"])
    assert len(kept(cache)) == 1, "nothing is left of the wrong one"
    assert reused(convert(BASE)) == [True]


def test_a_layer_that_is_left_out_is_read_each_time(convert, cache):
    odd = gzip_of(tar_of(special("g", b"g"), file("a", noise(1_000))))

    documents = [convert(BASE, odd) for _ in range(2)]

    assert documents[1]["layers"][1]["reason"] == "global-pax-header"
    assert len(kept(cache)) == 1


def test_a_zstd_layer_is_recompressed_each_time_and_its_neighbours_are_cached(convert, cache):
    layers = (zstandard.compress(tar_of(file("z", noise(50_000)))), BASE)
    options: Any = {"flags": ("--zstd", "recompress"), "layer_types": {0: media_types.OCI_LAYER_ZSTD}}

    documents = [convert(*layers, **options) for _ in range(2)]

    assert reused(documents[1]) == [False, True]
    assert documents[0]["digest"] == documents[1]["digest"]
    assert [path.parent.name for path in kept(cache)] == [f"sha256-{digest_of(BASE).hex}"]


def test_a_damaged_layer_is_detected_in_the_spans_that_are_read(soci_index, convert, tmp_path, cache):
    convert(BASE)
    path = layout_of(tmp_path / "broken", image_of(BASE))
    blob = path / "blobs/sha256" / digest_of(BASE).hex
    blob.write_bytes(BASE[:100] + b"?" + BASE[101:])

    result = soci_index("convert", f"oci:{path}:latest", *FLAGS, "--cache", cache, status=1)

    assert digest_of(BASE).hex in result.stderr


def test_a_cache_that_cannot_be_written_is_an_error(soci_index, layout, tmp_path):
    (tmp_path / "file").write_text("in the way")

    result = soci_index(
        "convert", f"oci:{layout}:latest", *FLAGS, "--cache", tmp_path / "file" / "cache", status=1
    )

    assert f"{tmp_path}/file/cache" in result.stderr


def test_without_the_flag_nothing_is_kept(convert, tmp_path):
    convert(BASE, cached=False)

    assert not [name for name in files_of(tmp_path) if name.endswith(".ztoc")]
