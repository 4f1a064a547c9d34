"""`profile push` and `profile pull`: a profile travels with its image."""

from __future__ import annotations

import json

import pytest

from soci.oci import media_types
from soci.oci.platform import Platform
from soci.oci.reference import parse_reference
from soci.places.open import open_store
from soci.start.profile import FileRead, encode_profile, make_profile
from soci.start.push_profile import push_profile
from tests.builders import file, gzip_of, image_of, layout_of, multi_platform, noise, tar_of
from tests.registries import REGISTRIES, running_registry
from tests.unit.cli.samples import PLATFORMS

IMAGES = [image_of(gzip_of(tar_of(file("app", noise(9_000, name)))), platform=name) for name in PLATFORMS]


def profile(path: bytes, platform: str | None = None) -> bytes:
    read = FileRead(path=path, first_ms=0, last_ms=1)
    return encode_profile(make_profile([read], platform=Platform.parse(platform) if platform else None))


@pytest.fixture
def place(request, tmp_path, soci_index):
    """A place with an image for one platform, and one for two."""
    layout = layout_of(tmp_path / "image", IMAGES[0], tag="one")
    if request.param == "layout":
        layout_of(tmp_path / "two", multi_platform(*IMAGES), tag="two")
        yield {"one": f"oci:{layout}:one", "two": f"oci:{tmp_path / 'two'}:two"}
        return
    (tmp_path / "registry").mkdir()
    with running_registry(request.param, tmp_path / "registry") as host:
        two = layout_of(tmp_path / "two", multi_platform(*IMAGES), tag="two")
        for path, tag in ((layout, "one"), (two, "two")):
            soci_index(
                "convert",
                *(f"oci:{path}:{tag}", f"{host}/app:{tag}"),
                *("--min-layer-size", 0, "--all-platforms"),
            )
        yield {"one": f"{host}/app:one", "two": f"{host}/app:two"}


each_place = pytest.mark.parametrize("place", ["layout", *REGISTRIES], indirect=True)
layouts = pytest.mark.parametrize("place", ["layout"], indirect=True)


@each_place
def test_the_profile_pushed_last_is_pulled_byte_for_byte(soci_index, place, tmp_path):
    data = [profile(b"/first"), profile(b"/second"), profile(b"/first")]
    for number, one in enumerate(data):
        (tmp_path / str(number)).write_bytes(one)
        pushed = soci_index("profile", "push", place["one"], tmp_path / str(number)).stdout
        assert pushed.startswith("pushed the profile of 1 start, 1 file, as sha256:")
        assert soci_index("profile", "pull", place["one"]).raw == one

    lines = soci_index("profile", "pull", place["one"], "-o", tmp_path / "out").stdout
    document = soci_index("profile", "pull", place["one"], "-o", tmp_path / "out", "--json").document

    assert lines == f"1 start: 1 file\nwritten to {tmp_path / 'out'}\n"
    assert (tmp_path / "out").read_bytes() == data[-1]
    assert (document["files"], document["platform"]) == (1, PLATFORMS[0])


@pytest.mark.parametrize("place", ["layout", "in memory, plain"], indirect=True)
def test_each_platform_of_an_image_has_its_own_profile(soci_index, place, tmp_path):
    for name in PLATFORMS:
        path = tmp_path / name.replace("/", "-")
        path.write_bytes(profile(b"/" + name.encode(), name))
        document = soci_index("profile", "push", place["two"], path, "--json").document
        assert document["platform"] == name

    for name in PLATFORMS:
        pulled = soci_index("profile", "pull", place["two"], "--platform", name)
        assert pulled.raw == profile(b"/" + name.encode(), name)


@layouts
def test_the_artifact_refers_to_the_image_and_holds_the_file(soci_index, place, tmp_path):
    data = profile(b"/app", PLATFORMS[0])
    (tmp_path / "profile").write_bytes(data)

    document = soci_index("profile", "push", place["one"], tmp_path / "profile", "--json").document
    again = soci_index("profile", "push", place["one"], tmp_path / "profile", "--json").document

    blobs = tmp_path / "image/blobs/sha256"
    manifest = json.loads((blobs / document["artifact"].partition(":")[2]).read_bytes())
    assert again == document
    assert manifest["artifactType"] == media_types.START_PROFILE
    assert manifest["subject"]["digest"] == document["image"] == str(IMAGES[0].root.digest)
    (layer,) = manifest["layers"]
    assert layer["mediaType"] == media_types.START_PROFILE
    assert (blobs / layer["digest"].partition(":")[2]).read_bytes() == data


@layouts
def test_convert_uses_the_pushed_profile(soci_index, place, tmp_path):
    (tmp_path / "profile").write_bytes(profile(b"/app"))
    pushed = soci_index("profile", "push", place["one"], tmp_path / "profile")

    converted = soci_index("convert", place["one"], "--min-layer-size", 0).stdout
    onto_converted = soci_index("profile", "push", f"{place['one']}-soci", tmp_path / "profile")
    pulled = soci_index("profile", "pull", f"{place['one']}-soci")

    assert pushed.stderr == ""
    assert "profile" in converted
    assert onto_converted.stdout == pushed.stdout, "it refers to the original, which is what is indexed"
    assert onto_converted.stderr == ""
    assert pulled.raw == profile(b"/app")


@layouts
def test_a_profile_of_a_soci_enabled_image_without_its_original_stays_with_it_and_says_so(
    soci_index, place, tmp_path
):
    (tmp_path / "profile").write_bytes(profile(b"/app"))
    soci_index("convert", place["one"], f"oci:{tmp_path / 'elsewhere'}:one", "--min-layer-size", 0)
    alone = f"oci:{tmp_path / 'elsewhere'}:one"

    pushed = soci_index("profile", "push", alone, tmp_path / "profile")

    assert "is a SOCI-enabled image: push the profile to its original" in pushed.stderr
    assert soci_index("profile", "pull", alone).raw == profile(b"/app")


@layouts
@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["pull", "{one}"], 1, "has no start profile; `profile push` gives it one"),
        (["pull", "{one}", "--json"], 2, "-o FILE says where to write the profile"),
        (["pull", "{two}"], 1, "has several platforms, choose one with --platform"),
        (["push", "{two}", "{any}"], 1, "has several platforms, choose one with --platform"),
        (["push", "{one}", "{other}"], 1, "has no platform linux/ppc64le"),
        (["push", "{one}", "{other}", "-p", "linux/s390x"], 2, "the profile is for linux/ppc64le"),
        (["push", "{one}", "{text}"], 1, "{text}: start profile: not valid JSON"),
    ],
    ids=["none", "json", "pull of two", "push to two", "other image", "other platform", "no profile"],
)
def test_what_cannot_be_pushed_or_pulled_is_said_in_one_line(soci_index, files, arguments, status, message):
    result = soci_index("profile", *(one.format(**files) for one in arguments), status=status)

    assert message.format(**files) in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == "" or status == 2


@pytest.fixture
def files(place, tmp_path):
    contents = {"any": profile(b"/a"), "other": profile(b"/a", PLATFORMS[1]), "text": b"hello"}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    return {**place, **{name: tmp_path / name for name in contents}}


@pytest.mark.parametrize("place", ["layout", "in memory, as ECR"], indirect=True)
def test_a_profile_of_a_line_lies_under_its_tag_and_moves_with_the_next(soci_index, place, tmp_path):
    for name, path in (("first", b"/a"), ("second", b"/b")):
        (tmp_path / name).write_bytes(profile(path))

    lines = soci_index("profile", "push", place["one"], tmp_path / "first", "--line").stdout
    document = soci_index("profile", "push", place["one"], tmp_path / "second", "--line", "--json").document
    tags = ("--line-tags", "web-*")
    of_tags = soci_index("profile", "push", place["one"], tmp_path / "first", *tags, "--json").document

    assert "it is the profile of the line *, under soci-profile-linux-s390x\n" in lines
    assert (document["line"], document["line_tag"]) == ("*", "soci-profile-linux-s390x")
    assert (of_tags["line"], of_tags["line_tag"]) == ("web-*", "soci-profile-abaa694d0641-linux-s390x")
    assert soci_index("profile", "pull", place["one"]).raw == profile(b"/a"), "also the image's own"
    line = place["one"].removesuffix(":one") + ":soci-profile-linux-s390x"
    assert soci_index("profile", "pull", line).raw == profile(b"/b")
    assert soci_index("profile", "pull", line, "-o", tmp_path / "out", "--json").document["image"] is None


@layouts
def test_a_line_that_no_tag_can_match_is_refused_before_anything_is_pushed(soci_index, place, tmp_path):
    (tmp_path / "profile").write_bytes(profile(b"/a"))

    failed = soci_index("profile", "push", place["one"], tmp_path / "profile", "--line-tags", "a b", status=2)

    assert "line 'a b': want a pattern of tags" in failed.stderr
    assert "no start profile" in soci_index("profile", "pull", place["one"], status=1).stderr


@layouts
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"hello", "start profile: not valid JSON"),
        (b'{"version":"9.0","files":[]}', "start profile: version: got '9.0', want '1.0'"),
        (b"{" * 600_000, "start profile: more than"),
    ],
    ids=["text", "version", "braces"],
)
def test_a_broken_profile_of_an_image_is_said_and_not_written(soci_index, place, tmp_path, data, message):
    store = open_store(parse_reference(place["one"]))
    push_profile(store, store.fetch_root(), data)

    result = soci_index("profile", "pull", place["one"], "-o", tmp_path / "out", status=1)

    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
