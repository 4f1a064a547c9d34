from __future__ import annotations

from typing import Any

import pytest

from soci.image.documents import Platforms, choose_images, fetch_image
from soci.oci import media_types
from soci.oci.annotations import PREFETCH_SOURCE
from soci.oci.digest import digest_of
from soci.oci.platform import Platform
from soci.places.layout.oci_layout import OciLayout
from soci.start.profile import FileRead, encode_profile, make_profile
from soci.start.push_profile import push_profile
from tests.builders import file, gzip_of, image_of, layout_of, multi_platform, noise, tar_of
from tests.recipes import document_in, entries_in, files_of
from tests.unit.cli.samples import PLATFORMS

SPAN = 65_536
LAYERS = [gzip_of(tar_of(file("bin/app", noise(8 * SPAN, name)), file("etc/x", b"x"))) for name in PLATFORMS]
FLAGS = ("--min-layer-size", "0", "--span-size", "64KiB")


def profile(*paths: str, platform: str | None = None) -> bytes:
    reads = [FileRead(path=path.encode(), first_ms=ms, last_ms=ms) for ms, path in enumerate(paths)]
    return encode_profile(make_profile(reads, platform=Platform.parse(platform) if platform else None))


@pytest.fixture
def image(tmp_path):
    return layout_of(tmp_path / "image", image_of(LAYERS[0], platform=PLATFORMS[0]))


@pytest.fixture
def two(tmp_path):
    images = [image_of(layer, platform=name) for layer, name in zip(LAYERS, PLATFORMS, strict=True)]
    return layout_of(tmp_path / "two", multi_platform(*images))


@pytest.fixture
def written(tmp_path):
    """Write a profile into a file."""

    def write(data: bytes, name: str = "profile.json"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


def pushed(layout, data: bytes, number: int = 0) -> str:
    """Push a profile for one of the images of a layout. Return the digest of the image manifest."""
    store = OciLayout(layout, tag="latest")
    one = choose_images(fetch_image(store), Platforms.ALL)[number].descriptor
    push_profile(store, one, data)
    return str(one.digest)


def profiles_of(document) -> list[Any]:
    return [one["profile"] for one in document["platforms"]]


@pytest.mark.parametrize("name", ["convert", "create"])
def test_the_result_says_which_profile_was_used_and_how_much_of_it_fitted(soci_index, image, written, name):
    data = profile("/etc/x", "/bin/app", "/gone")
    path = written(data)

    [used] = profiles_of(
        soci_index(name, f"oci:{image}:latest", *FLAGS, "--profile", path, "--json").document
    )

    assert used.pop("needed_bytes") == used.pop("prefetched_bytes") > 8 * SPAN
    assert used == {
        "digest": str(digest_of(data)),
        "from": str(path),
        "files": 3,
        "missing_files": ["/gone"],
        "renamed_files": {},
        "left_off_spans": 0,
        "whole_layers": [],
    }


def test_so_does_the_text(soci_index, image, written):
    path = written(profile("/etc/x", "/bin/app", "/gone"))

    lines = soci_index("convert", f"oci:{image}:latest", *FLAGS, "--profile", path).stdout.splitlines()

    assert f"{PLATFORMS[0]}  profile {path}: the image has 2 of 3 files" in lines
    assert any(line.startswith("prefetch: 51") and line.endswith(" that the start needs") for line in lines)


def test_files_under_another_version_are_named(soci_index, tmp_path, written):
    layout = layout_of(tmp_path / "next", image_of(gzip_of(tar_of(file("lib/a-2.so", noise(SPAN))))))
    path = written(profile("/lib/a-1.so"))

    result = soci_index("convert", f"oci:{layout}:latest", *FLAGS, "--profile", path, "--json")
    text = soci_index("convert", f"oci:{layout}:latest", *FLAGS, "--profile", path).stdout

    [used] = profiles_of(result.document)
    assert used["missing_files"] == ["/lib/a-1.so"]
    assert used["renamed_files"] == {"/lib/a-1.so": "/lib/a-2.so"}
    assert f"profile {path}: the image has 0 of 1 file, 1 under another version\n" in text


def test_the_budget_is_kept_and_what_exceeds_it_is_counted(soci_index, image, written):
    flags = ("--profile", written(profile("/bin/app")), "--prefetch-budget", "100KiB")

    text = soci_index("convert", f"oci:{image}:latest", *FLAGS, *flags).stdout

    assert "exceed the budget\n" in text


def test_a_layer_that_is_left_whole_has_its_reason(soci_index, image, written):
    flags = ("--profile", written(profile("/bin/app")), "--whole-layers", "auto", "--json")

    document = soci_index("convert", f"oci:{image}:latest", *FLAGS, *flags, status=1).document

    assert document["layers"][0]["reason"] == "read-whole"
    assert document["digest"] is None
    [used] = profiles_of(document)
    assert used["whole_layers"] == [str(digest_of(LAYERS[0]))]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "start profile: not valid JSON"),
        (b"[]", "start profile: "),
        (b'{"version": "9"}', "start profile: version: got '9', want '1.0'"),
        (b'{"version": "1.0", "files": [{"path": "../x", "first_ms": 0, "last_ms": 0}]}', "path"),
    ],
    ids=["empty", "list", "version", "path"],
)
def test_a_broken_file_is_one_line_of_error_and_nothing_is_written(soci_index, image, written, data, message):
    path, before = written(data), files_of(image)

    result = soci_index("convert", f"oci:{image}:latest", *FLAGS, "--profile", path, status=1)

    assert result.stderr.startswith(f"soci-index: {path}: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert files_of(image) == before


class TestPlatforms:
    def test_each_platform_has_its_own_profile(self, soci_index, two, written):
        files = [
            written(profile("/bin/app", platform=name), f"{number}.json")
            for number, name in enumerate(PLATFORMS)
        ]
        flags = ("--all-platforms", "--profile", files[1], "--profile", files[0])

        document = soci_index("convert", f"oci:{two}:latest", *FLAGS, *flags, "--json").document

        assert [one["from"] for one in profiles_of(document)] == list(map(str, files))

    def test_a_profile_without_a_platform_is_for_all(self, soci_index, two, written):
        flags = ("--all-platforms", "--profile", written(profile("/bin/app")))

        document = soci_index("convert", f"oci:{two}:latest", *FLAGS, *flags, "--json").document

        assert [one["files"] for one in profiles_of(document)] == [1, 1]

    def test_a_profile_of_another_platform_is_not_used_and_a_line_says_so(self, soci_index, image, written):
        path = written(profile("/bin/app", platform=PLATFORMS[1]))

        result = soci_index("convert", f"oci:{image}:latest", *FLAGS, "--profile", path, "--json")

        assert profiles_of(result.document) == [None]
        assert result.stderr == f"soci-index: profile {path} is not used: it is for {PLATFORMS[1]}\n"

    @pytest.mark.parametrize("platform", [None, PLATFORMS[0]])
    def test_two_profiles_for_one_platform_are_a_usage_error(self, soci_index, image, written, platform):
        paths = [written(profile(path, platform=platform), f"{path[1:]}.json") for path in ("/a", "/b")]
        flags = [word for path in paths for word in ("--profile", path)]

        result = soci_index("convert", f"oci:{image}:latest", *flags, status=2)

        assert f"{paths[0]} and {paths[1]} are both for " in result.stderr


class TestPushedProfiles:
    def test_the_profile_that_was_pushed_for_an_image_is_used(self, soci_index, image):
        pushed(image, profile("/bin/app"))

        result = soci_index("convert", f"oci:{image}:latest", *FLAGS, "--json")

        [used] = profiles_of(result.document)
        assert (used["from"], used["files"]) == ("image", 1)
        assert result.stderr == ""

    def test_the_newest_counts(self, soci_index, image):
        for data in (profile("/bin/app"), profile("/etc/x")):
            pushed(image, data)

        [used] = profiles_of(soci_index("convert", f"oci:{image}:latest", *FLAGS, "--json").document)

        assert used["digest"] == str(digest_of(profile("/etc/x")))

    def test_no_profile_leaves_it_out(self, soci_index, image):
        plain = soci_index("convert", f"oci:{image}:latest", *FLAGS, "--json").document
        pushed(image, profile("/bin/app"))

        again = soci_index("convert", f"oci:{image}:latest", *FLAGS, "--no-profile", "--json").document

        assert profiles_of(again) == [None]
        assert again["digest"] == plain["digest"]

    def test_a_file_comes_before_it(self, soci_index, image, written):
        pushed(image, profile("/bin/app"))
        path = written(profile("/etc/x"))

        [used] = profiles_of(
            soci_index("convert", f"oci:{image}:latest", *FLAGS, "--profile", path, "--json").document
        )

        assert used["from"] == str(path)

    def test_each_image_of_several_has_its_own(self, soci_index, two):
        pushed(two, profile("/etc/x"), 1)

        document = soci_index("convert", f"oci:{two}:latest", *FLAGS, "--all-platforms", "--json").document

        first, second = profiles_of(document)
        assert first is None
        assert second["files"] == 1
        indexes = [document_in(two, one["index"]) for one in document["platforms"]]
        assert [PREFETCH_SOURCE in one["annotations"] for one in indexes] == [False, True]

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b'{"version": "1.0"', "not valid JSON"),
            (b'{"version": "2.0"}', "version"),
            (profile("/bin/app", platform=PLATFORMS[1]), f"it is for {PLATFORMS[1]}, the image for"),
        ],
        ids=["no JSON", "version", "platform"],
    )
    def test_a_broken_one_does_not_stop_the_index(self, soci_index, image, data, message):
        plain = soci_index("convert", f"oci:{image}:latest", *FLAGS, "--json").document
        manifest = pushed(image, data)

        result = soci_index("convert", f"oci:{image}:latest", *FLAGS, "--json")

        assert result.document["digest"] == plain["digest"]
        assert result.stderr.startswith(f"soci-index: the profile of image {manifest} is not used: ")
        assert message in result.stderr
        assert result.stderr.count("\n") == 1

    def test_wrong_bytes_do_not_stop_it_either(self, soci_index, image):
        data = profile("/bin/app")
        pushed(image, data)
        (image / "blobs/sha256" / digest_of(data).hex).write_bytes(data[:-2] + b"\n}")

        result = soci_index("convert", f"oci:{image}:latest", *FLAGS, "--json")

        assert profiles_of(result.document) == [None]
        assert "is not used: " in result.stderr
        assert any(entry.artifact_type == media_types.SOCI_INDEX_V2 for entry in entries_in(image))


def test_start_files_first_says_what_was_put_in_front_of_which_layer(soci_index, tmp_path, written):
    members = [file(f"f{number:02}", noise(32 << 10, str(number))) for number in range(30)]
    layer = gzip_of(tar_of(*members))
    layout = layout_of(tmp_path / "many", image_of(layer, platform=PLATFORMS[0]))
    flags = ("--profile", written(profile("/f20", "/f05", "/f12")), "--start-first")

    [made] = soci_index("convert", f"oci:{layout}:latest", *FLAGS, *flags, "--json").document["layers"]
    text = soci_index("convert", f"oci:{layout}:latest", *FLAGS, *flags).stdout

    assert made["front"] == {"entries": 3, "size_bytes": 3 * (33 << 10) - 3 * 512, "left": 0}
    assert made["copy_of"] == str(digest_of(layer)) != made["digest"]
    assert "indexed, 3 entries of 97.5 KiB put in front, from " in text


def test_start_files_first_says_if_no_layer_is_worth_it(soci_index, image, written):
    flags = ("--profile", written(profile("/bin/app")), "--start-first")
    result = soci_index("convert", f"oci:{image}:latest", *FLAGS, *flags)
    assert "start files first: no layer is worth it" in result.stderr


def test_start_files_first_says_how_many_files_stay_in_place(soci_index, tmp_path, written):
    members = [file(f"f{number:02}", noise(32 << 10, str(number))) for number in range(30)]
    members.append(file("f05", b"again"))
    layout = layout_of(tmp_path / "many", image_of(gzip_of(tar_of(*members)), platform=PLATFORMS[0]))
    flags = ("--profile", written(profile("/f20", "/f05", "/f12", "/f25")), "--start-first")
    result = soci_index("convert", f"oci:{layout}:latest", *FLAGS, *flags)
    assert "start files first: 1 file stayed in place" in result.stderr


def test_start_files_first_needs_a_profile_and_version_2(soci_index, image):
    without = soci_index("convert", f"oci:{image}:latest", *FLAGS, "--start-first", status=2).stderr
    assert "no start profile for linux/s390x; give one with --profile FILE" in without
    version_1 = soci_index("create", f"oci:{image}:latest", *FLAGS, "--start-first", status=2).stderr
    assert "version 2" in version_1
