from __future__ import annotations

from pathlib import Path

import pytest

from soci.cli.endpoints import converted_tag, open_endpoints, unchanged_tag
from soci.errors import InvalidReference, SourceError
from soci.places.layout.oci_layout import OciLayout
from tests.image_files import Image, tar_of, write_docker_archive, write_layout

HEX = "a" * 64
IMAGE = Image(layers=(tar_of({"x": b"y"}),))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A layout `a` with one image in the working directory, tagged 1.0 or as asked."""
    monkeypatch.chdir(tmp_path)

    def write(tag: str = "1.0") -> None:
        write_layout(tmp_path / "a", IMAGE, tag=tag)

    return write


def tags(image: str, destination: str | None = None) -> tuple[str | None, str | None]:
    """The tags that convert and create would give."""
    places = open_endpoints(image, destination)
    root = places.source.fetch_root()
    return converted_tag(places, root), unchanged_tag(places, root)


@pytest.mark.parametrize(
    ("destination", "converted", "copied"),
    [
        (None, "1.0-soci", None),
        ("oci:a", "1.0-soci", None),
        ("oci:a:1.0", "1.0", None),
        ("oci:a:x", "x", "x"),
    ],
)
@pytest.mark.parametrize("image", ["oci:a:1.0", "oci:./a:1.0"])
def test_in_place(place, image, destination, converted, copied):
    place()

    assert tags(image, destination) == (converted, copied)
    places = open_endpoints(image, destination)
    assert places.sink is places.source


@pytest.mark.parametrize(
    ("destination", "converted", "copied"), [("oci:b", "1.0-soci", "1.0"), ("oci:b:x", "x", "x")]
)
@pytest.mark.parametrize("image", ["oci:a", "oci:a:1.0"])
def test_elsewhere(place, image, destination, converted, copied):
    place()

    assert tags(image, destination) == (converted, copied)
    places = open_endpoints(image, destination)
    assert places.sink is not places.source


def test_without_a_tag_that_of_the_entry_counts(place):
    place("only")

    assert tags("oci:a") == ("only-soci", None)


@pytest.mark.parametrize(
    ("image", "destination", "tags_given", "same"),
    [
        ("h.example/app:1", None, ("1-soci", None), True),
        ("h.example/app", None, ("latest-soci", None), True),
        ("h.example/app:1-soci", None, ("1-soci-soci", None), True),
        ("h.example/app:1", "h.example/app", ("1-soci", None), True),
        ("h.example/app:1", "docker://h.example/app:2", ("2", "2"), True),
        ("h.example/app:1", "h.example/other", ("1-soci", "1"), False),
        ("h.example/app:1", "other.example/app:2", ("2", "2"), False),
        ("app", "docker.io/library/app:x", ("x", "x"), True),
        ("oci:a", "h.example/app", ("1.0-soci", "1.0"), False),
        ("h.example/app:1", "oci:b", ("1-soci", "1"), False),
        (f"h.example/app:1@sha256:{HEX}", None, (None, None), True),
    ],
)
def test_a_registry_is_a_place_like_a_layout(place, image, destination, tags_given, same):
    place()
    places = open_endpoints(image, destination)
    root = OciLayout(Path("a"), tag="1.0").fetch_root()

    assert (converted_tag(places, root), unchanged_tag(places, root)) == tags_given
    assert (places.sink is places.source) is same


def test_an_image_that_is_named_by_digest_has_no_tag(place):
    place()
    digest = open_endpoints("oci:a", None).source.fetch_root().digest

    assert tags(f"oci:a@{digest}", "oci:b") == (None, None)
    assert tags(f"oci:a@{digest}", "oci:b:x") == ("x", "x")
    assert tags(f"oci:a@{digest}") == (None, None)


def test_a_tag_with_the_suffix_stays_only_when_the_image_is_converted(place):
    place("1.0-soci")
    places = open_endpoints("oci:a:1.0-soci", "oci:b")
    root = places.source.fetch_root()

    assert converted_tag(places, root, is_converted=True) == "1.0-soci"
    assert converted_tag(places, root) == "1.0-soci-soci", "an ordinary image must not lose its name"


def test_a_tag_that_is_a_full_name_keeps_the_name(place):
    place("registry.example/app:1.0")

    assert tags("oci:a")[0] == "registry.example/app:1.0-soci"


def test_a_tag_may_have_128_characters_with_the_suffix(place):
    place("t" * 123)
    assert tags("oci:a")[0] == "t" * 123 + "-soci"

    place("t" * 124)
    with pytest.raises(InvalidReference, match="would exceed 128 characters; name another"):
        tags("oci:a")
    assert tags("oci:a", "oci:a:short") == ("short", "short")


@pytest.mark.parametrize(
    ("name", "converted"),
    [("app:1.0", "1.0-soci"), ("app", "latest-soci"), ("localhost:5000/app", "latest-soci")],
)
def test_an_image_of_a_docker_archive_has_the_tag_of_its_name(tmp_path, monkeypatch, name, converted):
    monkeypatch.chdir(tmp_path)
    write_docker_archive(tmp_path / "saved.tar", IMAGE, name)

    assert tags(f"docker-archive:saved.tar:{name}", "oci:b") == (converted, converted.removesuffix("-soci"))


@pytest.mark.parametrize(
    ("image", "destination", "message"),
    [
        ("oci:a", "oci-archive:b.tar", "archives are read only; write to a directory, oci:DIR"),
        ("oci:a", "docker-archive:b.tar", "archives are read only"),
        ("oci-archive:a.tar", None, r"oci-archive:a\.tar cannot be written to; name a destination: oci:DIR"),
        ("docker-archive:a.tar", None, "name a destination"),
        ("oci:a", f"oci:b@sha256:{HEX}", "a destination has a tag or nothing, its digest follows"),
        ("oci:a", f"oci:a@sha256:{HEX}", "a destination has a tag or nothing, its digest follows"),
        ("oci:a", "./b", r"in lower case; accepted are \[HOST/\]NAME"),
        ("oci:a", f"h.example/app@sha256:{HEX}", "a destination has a tag or nothing, its digest follows"),
        ("dir:a", "oci:b", "not a transport that is read"),
    ],
)
def test_places_that_cannot_be_read_or_written_are_refused(place, image, destination, message):
    place()

    with pytest.raises(InvalidReference, match=message):
        open_endpoints(image, destination)


def test_a_directory_with_other_files_is_no_destination(place, tmp_path):
    place()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").touch()

    with pytest.raises(SourceError, match="a directory with other files in it, not an OCI layout; nothing"):
        open_endpoints("oci:a", "oci:b")


def test_opening_writes_nothing(place, tmp_path):
    place()

    open_endpoints("oci:a", "oci:b:x")

    assert [path.name for path in tmp_path.iterdir()] == ["a"]
