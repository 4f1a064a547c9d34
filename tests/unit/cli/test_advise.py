"""`advise` as users see it, with files in a layout."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from soci.oci.annotations import SOCI_SPAN_SIZE
from soci.places.layout.oci_layout import OciLayout
from soci.start.profile import FileRead, encode_profile, make_profile
from soci.start.push_profile import push_profile
from tests.builders import file, gzip_of, image_of, layout_of, noise, soci_index_of, tar_of, with_soci_index

LAYER = gzip_of(
    tar_of(*(file(f"lib/{n}", noise(40_000, str(n))) for n in range(40)), file("bin/app", noise(90_000)))
)
SMALL = gzip_of(tar_of(file("etc/motd", b"hello\n")))


def write_profile(directory: Path, *paths: str) -> Path:
    """A profile of a start that reads these files one after the other."""
    files = [
        FileRead(path=path.encode(), first_ms=100 * number, last_ms=100 * number)
        for number, path in enumerate(paths)
    ]
    path = directory / "start.json"
    path.write_bytes(encode_profile(make_profile(files, program=paths[0].encode() if paths else None)))
    return path


@pytest.fixture
def indexed(tmp_path):
    """An indexed image whose second layer has no zTOC."""
    image = with_soci_index(image_of(LAYER, SMALL), skip=(1,))
    return f"oci:{layout_of(tmp_path / 'indexed', image)}"


@pytest.fixture
def plain(tmp_path):
    return f"oci:{layout_of(tmp_path / 'plain', image_of(LAYER, SMALL))}"


@pytest.fixture
def profile(tmp_path):
    return write_profile(tmp_path, "/bin/app", "/lib/3", "/etc/motd", "/gone")


def test_each_question_has_one_line(soci_index, indexed, profile):
    lines = soci_index("advise", indexed, profile, "--bandwidth", "1MB/s").stdout.splitlines()

    assert lines[0] == "1 of the profile's 4 files are not in this image"
    assert [line.partition(":")[0] for line in lines[1:4]] == [
        "index",
        "prefetch",
        "a zTOC for each layer",
    ]
    assert lines[-1] == "(estimated for the snapshotter at 20 ms and 1 MB/s)"
    assert len(lines) == 7


def test_the_document_has_choices_and_numbers(soci_index, indexed, profile):
    document = soci_index("advise", indexed, profile, "--json").document

    advice = {one["topic"]: one for one in document["advice"]}
    assert set(advice) == {"profile", "index", "prefetch", "whole-layers", "span-size", "start-first"}
    assert advice["index"]["choice"] in {"no-index", "lazy", "prefetch"}
    assert advice["prefetch"]["numbers"]["spans"] >= 2
    assert [one["way"] for one in document["estimates"]] == [
        *("no-index", "parallel-pull", "lazy", "prefetch", "start-first", "start-first-prefetch")
    ]
    assert document["network"] == {"round_trip_seconds": 0.02, "bandwidth_bytes_per_second": 75e6}
    assert document["program_seconds"] == 0.2


def test_an_image_without_an_index_is_judged_as_if_it_had_one(soci_index, plain, indexed, profile):
    options = ("--span-size", "64KiB", "--min-layer-size", 10_000, "--json")

    would_be, is_there = (
        soci_index("advise", image, profile, *options).document["estimates"] for image in (plain, indexed)
    )

    assert len(would_be) == 6
    for one, other in zip(would_be, is_there, strict=True):
        assert one["bytes"] == pytest.approx(other.pop("bytes"), abs=100)  # other build tools, other zTOCs
        assert one | other == one


def test_an_image_whose_layers_are_too_small_to_index_is_to_be_pulled(soci_index, plain, profile):
    lines = soci_index("advise", plain, profile).stdout.splitlines()

    assert lines[1] == "no layer has a zTOC, so there is nothing to load lazily: pull and unpack"


def test_network_reader_and_run_time_can_be_given(soci_index, indexed, profile):
    flags = ("--rtt", "0.3s", "--bandwidth", "8Mbit/s", "--reader", "mount", "--run-seconds", 7)

    document = soci_index("advise", indexed, profile, *flags, "--json").document

    assert document["network"] == {"round_trip_seconds": 0.3, "bandwidth_bytes_per_second": 1e6}
    assert (document["reader"], document["program_seconds"]) == ("mount", 7)


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        *(
            (f"--rtt={value}", "write it as 20, 20ms or 0.02s")
            for value in ("fast", "-1", "61s", "nan", "1e3", "")
        ),
        *(
            (f"--bandwidth={value}", "write it as 75, 75MB/s or 600Mbit/s")
            for value in ("0", "75 mb", "inf", "-75", "2000GB/s", "75 MiB/s", "")
        ),
        ("--reader=fargate", "'snapshotter', 'mount'"),
        ("--run-seconds=soon", "valid float"),
    ],
)
def test_a_wrong_option_says_what_is_wanted(soci_index, indexed, profile, option, problem):
    result = soci_index("advise", indexed, profile, option, status=2)

    assert option.partition("=")[0] in result.stderr
    assert problem in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("text", "seconds"), [("5", 0.005), ("5 ms", 0.005), ("0.5s", 0.5), ("0", 0.0), ("1.5", 0.0015)]
)
def test_a_round_trip_is_in_milliseconds_or_has_a_unit(soci_index, indexed, profile, text, seconds):
    document = soci_index("advise", indexed, profile, "--rtt", text, "--json").document

    assert document["network"]["round_trip_seconds"] == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "rate"), [("300", 3e8), ("300 MB/s", 3e8), ("1Gbit/s", 1.25e8), ("1GB/s", 1e9), ("500kB/s", 5e5)]
)
def test_a_bandwidth_is_in_megabytes_or_has_a_unit(soci_index, indexed, profile, text, rate):
    document = soci_index("advise", indexed, profile, "--bandwidth", text, "--json").document

    assert document["network"]["bandwidth_bytes_per_second"] == pytest.approx(rate)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"version":"2.0"}', b"\xff"])
def test_a_file_that_is_no_profile_is_named(soci_index, indexed, tmp_path, content):
    path = tmp_path / "other.json"
    path.write_bytes(content)

    result = soci_index("advise", indexed, path, status=1)

    assert result.stderr.startswith(f"soci-index: {path}: start profile")
    assert result.stderr.count("\n") == 1


def test_a_profile_that_is_not_there_is_named(soci_index, indexed, tmp_path):
    result = soci_index("advise", indexed, tmp_path / "none.json", "--json", status=1)

    assert json.loads(result.raw)["error"]["type"] == "StorageError"
    assert f"{tmp_path / 'none.json'}: No such file or directory" in result.stderr


def test_without_a_profile_the_images_own_is_used(soci_index, tmp_path, profile):
    image = image_of(LAYER)
    layout = layout_of(tmp_path / "own", image)
    push_profile(OciLayout(layout), image.root, profile.read_bytes())
    options = ("--min-layer-size", 0, "--json")

    own = soci_index("advise", f"oci:{layout}", *options).document

    assert own == soci_index("advise", f"oci:{layout}", profile, *options).document


def test_a_converted_image_has_the_profile_of_its_original(soci_index, tmp_path, profile):
    image = image_of(LAYER)
    layout = layout_of(tmp_path / "own", image)
    push_profile(OciLayout(layout), image.root, profile.read_bytes())
    soci_index("convert", f"oci:{layout}:latest", "--min-layer-size", 0, "--span-size", "64KiB")

    own = soci_index("advise", f"oci:{layout}:latest-soci", "--json").document

    assert own == soci_index("advise", f"oci:{layout}:latest-soci", profile, "--json").document
    assert "profile" in {one["topic"] for one in own["advice"]}


def test_an_image_without_a_profile_of_its_own_is_named(soci_index, indexed):
    result = soci_index("advise", indexed, status=1)

    assert "no start profile was pushed for image sha256:" in result.stderr


@pytest.mark.parametrize("size", [0, 1, 1 << 62])
def test_an_index_may_say_any_span_size(soci_index, tmp_path, profile, size):
    lied = layout_of(tmp_path / "lied", with_span_size(size))

    assert "index" in soci_index("advise", f"oci:{lied}", profile, "--bandwidth", "1MB/s").stdout


def with_span_size(size):
    """An indexed image whose index says another span size."""
    plain = image_of(LAYER)
    soci_index, _ = soci_index_of(plain)
    entries = tuple(
        replace(entry, annotations={**entry.annotations, SOCI_SPAN_SIZE: str(size)})
        for entry in soci_index.layers or ()
    )
    return with_soci_index(plain, document=replace(soci_index, layers=entries).encode())
