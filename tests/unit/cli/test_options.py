from __future__ import annotations

import pytest
import typer

from soci.cli.options import MAX_JOBS, IndexOptions, PlatformOptions, parse_size
from soci.errors import InvalidOption
from soci.image.documents import Platforms
from soci.settings import IndexSettings


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("4194304", 4 << 20),
        (4 << 20, 4 << 20),
        ("512b", 512),
        ("512k", 512 << 10),
        ("4M", 4 << 20),
        ("4MB", 4 << 20),
        ("4MiB", 4 << 20),
        ("4 mib", 4 << 20),
        (" 1GiB ", 1 << 30),
    ],
)
def test_a_size_is_bytes_or_has_a_binary_unit(text, size_bytes):
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    "text", ["", "MiB", "-1", "1.5MiB", "4TiB", "4 M B", "0x10", "1e6", "4MiBs", "²", "9" * 5_000]
)
def test_anything_else_is_not_a_size(text):
    with pytest.raises(
        typer.BadParameter, match="is not a size; write bytes or a unit, such as 4194304, 4MiB or 512k"
    ):
        parse_size(text)


def test_without_flags_the_settings_are_the_defaults():
    assert IndexOptions().settings() == IndexSettings()


def test_platforms_are_those_named_all_or_that_of_this_machine():
    assert PlatformOptions().platforms() is Platforms.HOST
    assert PlatformOptions(platform=[], all_platforms=True).platforms() is Platforms.ALL
    named = IndexOptions(platform=["linux/x86_64", "linux/arm"]).platforms()
    assert not isinstance(named, Platforms)
    assert list(map(str, named)) == ["linux/amd64", "linux/arm"]


def test_all_platforms_and_one_of_them_exclude_each_other():
    with pytest.raises(InvalidOption, match="--platform and --all-platforms exclude each other"):
        PlatformOptions(platform=["linux/amd64"], all_platforms=True).platforms()


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--span-size", "x"], "--span-size"),
        (["--span-size", "1"], "span size: 1 bytes, want 65536 to 1073741824"),
        (["--span-size", "9" * 5_000], "--span-size"),
        (["--min-layer-size", "-1"], "--min-layer-size"),
        (["--build-tool", "a\tb"], "build tool"),
        (["--multi-member", "maybe"], "--multi-member"),
        (["--optimizations", "speed"], "--optimizations"),
        (["--prefetch-budget", "-1"], "--prefetch-budget"),
        (["--whole-layers", "always"], "--whole-layers"),
        (["--profile", "p.json", "--no-profile"], "--profile and --no-profile exclude each other"),
        (["--jobs", "0"], "--jobs"),
        (["--jobs", str(MAX_JOBS + 1)], "--jobs"),
        (["--platform", "amd64"], "platform 'amd64'"),
        (["--platform", "linux/amd64", "--all-platforms"], "--all-platforms"),
        (["--spansize", "1"], "--spansize"),
    ],
)
@pytest.mark.parametrize("name", ["convert", "create"])
def test_a_value_that_is_out_of_range_is_a_usage_error_that_names_it(soci_index, layout, name, flags, named):
    result = soci_index(name, f"oci:{layout}:latest", *flags, status=2)

    assert named in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
