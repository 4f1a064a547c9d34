from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from soci.oci import media_types
from soci.oci.digest import digest_of
from soci.places.layout.oci_layout import OciLayout
from soci.reasons import Reason
from tests.builders import gzip_of, image_of, layout_of, multi_platform, special, tar_of
from tests.golden_images import GOLDEN_IMAGES
from tests.image_files import Image as PlainImage
from tests.image_files import write_docker_archive
from tests.recipes import entries_in, files_of
from tests.unit.cli.samples import LAYER, PLATFORMS, UPPER

SMALL = ["--min-layer-size", "1KiB"]
ALL = ["--min-layer-size", "0"]


def test_a_table_shows_the_result_of_each_layer(soci_index, layout):
    lines = soci_index("convert", f"oci:{layout}:latest", *SMALL).stdout.splitlines()

    assert lines[0].startswith(f"{PLATFORMS[0]}  sha256:")
    assert lines[1].split() == ["LAYER", "SIZE", "FILES", "SPANS", "ZTOC", "SECONDS", "MB/S", "RESULT"]
    assert lines[2].split()[0] == digest_of(LAYER).hex[:12]
    assert lines[2].endswith("indexed")
    assert " KiB" in lines[2]
    assert lines[3].endswith("left out: below-min-size")
    assert lines[4].startswith(f"below-min-size: {Reason.BELOW_MIN_SIZE.sentence}")


def test_the_output_names_the_image_and_its_place(soci_index, layout):
    text = soci_index("convert", f"oci:{layout}:latest", *SMALL).stdout

    root = OciLayout(layout, tag="latest-soci").fetch_root()
    assert f"SOCI-enabled image {root.digest}\n" in text
    assert f"SOCI index {entries_in(layout)[1].digest} for {PLATFORMS[0]}\n" in text
    assert text.endswith(f"written to {layout} with tag latest-soci\n")


def test_create_says_which_index_it_made(soci_index, layout):
    text = soci_index("create", f"oci:{layout}:latest", *SMALL).stdout

    [index] = OciLayout(layout).fetch_referrers(
        OciLayout(layout, tag="latest").fetch_root().digest, media_types.SOCI_INDEX_V1
    )
    assert f"SOCI index {index.digest} for {PLATFORMS[0]}\n" in text
    assert "SOCI-enabled" not in text
    assert text.endswith(f"written to {layout}\n")


@pytest.mark.parametrize("name", ["convert", "create"])
def test_the_document_has_the_digest_and_for_each_layer_its_ztoc_or_the_reason(soci_index, layout, name):
    document = soci_index(name, f"oci:{layout}:latest", *SMALL, "--json").document

    assert list(document) == ["digest", "tag", "tag_left_alone", "image", "platforms", "layers"]
    [platform] = document["platforms"]
    source = OciLayout(layout, tag="latest-soci" if name == "convert" else "latest")
    assert document["image"] == str(OciLayout(layout, tag="latest").fetch_root().digest)
    if name == "convert":
        assert document["digest"] == str(source.fetch_root().digest)
        assert document["tag"] == "latest-soci"
    else:
        assert document["digest"] == platform["index"]
        assert document["tag"] is None
    assert platform["platform"] == PLATFORMS[0]
    assert platform["image_manifest"] == document["image"]
    indexed, left_out = document["layers"]
    assert indexed["digest"] == str(digest_of(LAYER))
    assert indexed["reason"] is None
    assert indexed["ztoc"].keys() >= {"digest", "size_bytes", "spans", "files", "seconds"}
    assert left_out["digest"] == str(digest_of(UPPER))
    assert left_out["ztoc"] is None
    assert left_out["reason"] == "below-min-size"
    assert left_out["sentence"] == Reason.BELOW_MIN_SIZE.sentence


@pytest.mark.parametrize("name", ["convert", "create"])
def test_nothing_to_index_is_status_1_and_writes_nothing(soci_index, layout, tmp_path, name):
    before = files_of(tmp_path)

    plain = soci_index(name, f"oci:{layout}:latest", status=1)
    as_json = soci_index(name, f"oci:{layout}:latest", f"oci:{tmp_path}/to", "--json", status=1)

    assert "nothing to index: no layer got a zTOC, so nothing was written" in plain.stderr
    assert "written to" not in plain.stdout
    assert as_json.document["digest"] is as_json.document["tag"] is None
    assert [layer["reason"] for layer in as_json.document["layers"]] == ["below-min-size"] * 2
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("name", ["convert", "create"])
def test_a_damaged_layer_is_an_error_and_writes_nothing(soci_index, tmp_path, name):
    layout = layout_of(tmp_path / "image", image_of(LAYER, UPPER[:-5]))
    before = files_of(tmp_path)

    for destination in ([], [f"oci:{tmp_path}/to"]):
        result = soci_index(name, f"oci:{layout}:latest", *destination, *ALL, "--json", status=1)

        assert result.document["error"]["type"] == "GzipError"
    assert files_of(tmp_path) == before


def test_of_two_platforms_both_are_indexed_or_the_one_asked_for(soci_index, two_platforms):
    one = soci_index("convert", f"oci:{two_platforms}:latest", *ALL, "-p", PLATFORMS[1])
    assert f"not asked for: {PLATFORMS[0]} (--all-platforms indexes all)" in one.stdout

    document = soci_index("convert", f"oci:{two_platforms}:latest-soci", *ALL, "--json").document
    assert [platform["platform"] for platform in document["platforms"]] == list(PLATFORMS)
    assert document["tag"] == "latest-soci"


def test_a_platform_without_an_index_is_named(soci_index, tmp_path):
    images = [
        image_of(layer, platform=platform) for layer, platform in zip((LAYER, UPPER), PLATFORMS, strict=True)
    ]
    layout = layout_of(tmp_path, multi_platform(*images))

    text = soci_index("convert", f"oci:{layout}", *SMALL).stdout

    assert f"no SOCI index for {PLATFORMS[1]}: no layer got a zTOC" in text


def test_each_reason_is_explained_once(soci_index, tmp_path):
    odd = [gzip_of(tar_of(special(name, b"7"))) for name in ("one", "two")]
    layout = layout_of(tmp_path, image_of(LAYER, *odd))

    text = soci_index("convert", f"oci:{layout}", *ALL).stdout

    assert text.count(Reason.UNSUPPORTED_ENTRY_TYPE.sentence) == 1
    assert text.count("left out: unsupported-entry-type") == 2


def test_prefetch_files_that_do_not_exist_are_reported_and_not_fatal(soci_index, layout):
    flags = ["--prefetch-file", "/etc/motd", "--prefetch-file", "/no/*", "--prefetch-file", "/etc"]

    result = soci_index("convert", f"oci:{layout}:latest", *ALL, *flags)

    assert result.stderr == "soci-index: prefetch: no file matches /no/*\n"


def test_the_owners_flags_give_the_owners_digest(soci_index, tmp_path):
    name = "oci-index-two-platforms"
    shutil.copytree(GOLDEN_IMAGES / name, tmp_path / "image", copy_function=shutil.copyfile)
    expected = json.loads((GOLDEN_IMAGES / "expected.json").read_text())[name]["cases"]
    case = next(case for case in expected if case["optimizations"] == ["xattr"])

    document = soci_index(
        *["convert", f"oci:{tmp_path}/image:latest", "--all-platforms", "--min-layer-size", "0", "--json"],
        *["--span-size", "4194304", "--optimizations", "xattr", "--build-tool", "AWS SOCI CLI v0.2"],
    ).document

    assert document["digest"] == case["descriptor"]["digest"]


@pytest.mark.parametrize("zone", ["JST-9", "NST+3:30NDT"])
def test_the_time_zone_of_the_machine_does_not_matter(process, layout, zone):
    digests = {
        process("convert", f"oci:{layout}:latest", *ALL, "--json", env={**os.environ, "TZ": name}).document[
            "digest"
        ]
        for name in (zone, "UTC")
    }

    assert len(digests) == 1


@pytest.mark.parametrize("form", ["oci-archive", "docker-archive"])
def test_an_archive_is_converted_into_a_layout(soci_index, layout, tmp_path, form):
    archive = tmp_path / "archive.tar"
    if form == "oci-archive":
        shutil.make_archive(str(archive.with_suffix("")), "tar", layout)
    else:
        write_docker_archive(archive, PlainImage(layers=(gzip_free_tar(), gzip_free_tar())), "app:1.0")
    before = archive.read_bytes()

    document = soci_index("convert", f"{form}:{archive}", f"oci:{tmp_path}/to:made", *ALL, "--json").document

    assert all(layer["ztoc"] for layer in document["layers"])
    assert soci_index("verify", f"oci:{tmp_path}/to:made", "--files", "--json").document["sound"]
    assert archive.read_bytes() == before


def gzip_free_tar() -> bytes:
    return tar_of(special("a", b"0", data=b"x"))


def test_paths_may_have_spaces_and_letters_of_any_kind(soci_index, layout, tmp_path):
    place = tmp_path / "Bücher und 本"
    shutil.copytree(layout, place)

    document = soci_index("convert", f"oci:{place}:latest", *ALL, "--json").document
    text = soci_index("convert", f"oci:{place}:latest", f"oci:{tmp_path}/ein Ziel:neu", *ALL).stdout

    assert document["digest"].startswith("sha256:")
    assert text.endswith(f"written to {tmp_path}/ein Ziel with tag neu\n")


def test_an_image_may_have_127_layers(soci_index, tmp_path):
    layers = [gzip_of(tar_of(special(f"file {number}", b"0", data=b"x"))) for number in range(127)]
    layout = layout_of(tmp_path, image_of(*layers))

    document = soci_index("convert", f"oci:{layout}", *ALL, "--json", "-j", "8").document

    assert [layer["digest"] for layer in document["layers"]] == [str(digest_of(layer)) for layer in layers]


def break_index(layout: Path) -> None:
    (layout / "index.json").write_text('{"schemaVersion":2,"manifests":[{"digest":')


def empty_index(layout: Path) -> None:
    (layout / "index.json").write_text("")


def remove_index(layout: Path) -> None:
    (layout / "index.json").unlink()


def remove_marker(layout: Path) -> None:
    (layout / "oci-layout").unlink()


def other_version(layout: Path) -> None:
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"2.0.0"}')


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_index, "index.json: "),
        (empty_index, "index.json: "),
        (remove_index, "not an OCI layout, it has no file index.json"),
        (remove_marker, "not an OCI layout, it has no file oci-layout"),
        (other_version, "imageLayoutVersion"),
    ],
    ids=["broken index", "empty index", "no index", "no marker", "other version"],
)
def test_a_broken_layout_is_an_error_that_says_what_is_broken(soci_index, layout, damage, message):
    damage(layout)
    before = files_of(layout)

    result = soci_index("convert", f"oci:{layout}:latest", *ALL, status=1)

    assert f"{layout}" in result.stderr
    assert message in result.stderr
    assert files_of(layout) == before
