from __future__ import annotations

import pytest

from soci.errors import InvalidOption
from soci.oci.fields import Fields
from soci.oci.platform import Platform


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("linux/amd64", ("linux", "amd64", "")),
        ("linux/amd64/v1", ("linux", "amd64", "")),
        ("linux/amd64/v3", ("linux", "amd64", "v3")),
        ("Linux/X86_64", ("linux", "amd64", "")),
        ("linux/x86-64", ("linux", "amd64", "")),
        ("linux/i386", ("linux", "386", "")),
        ("linux/aarch64", ("linux", "arm64", "")),
        ("linux/arm64", ("linux", "arm64", "")),
        ("linux/arm64/v8", ("linux", "arm64", "v8")),
        ("linux/arm64/v9", ("linux", "arm64", "v9")),
        ("linux/arm", ("linux", "arm", "")),
        ("linux/arm/v7", ("linux", "arm", "v7")),
        ("linux/arm/6", ("linux", "arm", "v6")),
        ("linux/armel", ("linux", "arm", "v6")),
        ("macos/arm64", ("darwin", "arm64", "")),
        ("windows/amd64", ("windows", "amd64", "")),
    ],
)
def test_a_platform_is_read_as_containerd_reads_it(text, meaning):
    platform = Platform.parse(text)

    assert (platform.os, platform.architecture, platform.variant) == meaning


@pytest.mark.parametrize(
    "text", ["", "linux", "amd64", "linux/", "/amd64", "linux/arm/v7/x", "linux/a b", "linux//v8"]
)
def test_a_text_that_is_not_a_platform_is_refused(text):
    with pytest.raises(InvalidOption, match="expected os/architecture or os/architecture/variant"):
        Platform.parse(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("linux", "arm64", "v8"), ("linux", "arm64", "")),
        (("linux", "aarch64", ""), ("linux", "arm64", "8")),
        (("linux", "arm", ""), ("linux", "arm", "v7")),
        (("linux", "armhf", ""), ("linux", "arm", "7")),
        (("linux", "amd64", "v1"), ("linux", "x86_64", "")),
        (("", "amd64", ""), ("linux", "amd64", "")),
        (("linux", "i386", "x"), ("linux", "386", "")),
    ],
)
def test_platforms_under_other_names_match(one, other):
    first, second = (Platform(os=p[0], architecture=p[1], variant=p[2]) for p in (one, other))

    assert first.matches(second)
    assert second.matches(first)
    assert first.normalized() == second.normalized() == first.normalized().normalized()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("linux", "arm", "v6"), ("linux", "arm", "v7")),
        (("linux", "amd64", "v2"), ("linux", "amd64", "")),
        (("linux", "amd64", ""), ("windows", "amd64", "")),
        (("linux", "arm64", ""), ("linux", "arm", "v8")),
    ],
)
def test_other_platforms_do_not_match_even_if_they_would_run(one, other):
    first, second = (Platform(os=p[0], architecture=p[1], variant=p[2]) for p in (one, other))

    assert not first.matches(second)


def test_the_platform_of_an_attestation_is_unknown():
    assert Platform(os="unknown", architecture="unknown").is_unknown
    assert Platform(os="linux", architecture="unknown").is_unknown
    assert not Platform(os="linux", architecture="amd64").is_unknown


def test_a_platform_shows_as_text():
    assert str(Platform(os="linux", architecture="arm64", variant="v8")) == "linux/arm64/v8"
    assert str(Platform(os="", architecture="")) == "unknown/unknown"


def test_json_keeps_every_field_in_gos_order():
    members = {
        "architecture": "amd64",
        "os": "windows",
        "os.version": "10.0",
        "os.features": ["win32k"],
        "variant": "v2",
    }
    platform = Platform.from_json(Fields(dict(reversed(members.items())), "doc"))

    assert list(platform.to_json().items()) == list(members.items())


def test_os_and_architecture_are_written_even_when_empty():
    assert Platform.from_json(Fields({}, "doc")).to_json() == {"architecture": "", "os": ""}
