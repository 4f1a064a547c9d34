from __future__ import annotations

import json

import pytest

from soci.oci import media_types
from soci.oci.digest import digest_of
from soci.places.layout.oci_layout import OciLayout
from soci.start.profile import FileRead, encode_profile, make_profile
from soci.start.push_profile import push_profile
from soci.ztoc.decode import decode_compression_info
from soci.ztoc.model import MAX_ZTOC_BYTES
from tests.builders import (
    describe,
    file,
    gzip_of,
    image_of,
    index_layer,
    layout_of,
    multi_platform,
    noise,
    tar_of,
    with_soci_index,
    with_soci_v1_index,
)
from tests.recipes import convert_layout
from tests.unit.cli.samples import LAYER, PLATFORMS, UPPER

ZTOC = index_layer(LAYER)


@pytest.fixture
def ztoc_file(tmp_path):
    path = tmp_path / "layer.ztoc"
    path.write_bytes(ZTOC.ztoc)
    return path


@pytest.fixture
def converted(layout):
    convert_layout(layout, prefetch_patterns=("/bin/app",))
    return f"oci:{layout}:latest-soci"


def test_a_ztoc_file_as_json(soci_index, ztoc_file):
    document = soci_index("inspect", ztoc_file, "--json").document

    files, spans = document.pop("files"), document.pop("spans")
    assert document == {
        "kind": "ztoc",
        "digest": str(ZTOC.digest),
        "size_bytes": len(ZTOC.ztoc),
        "version": "0.9",
        "build_tool_identifier": "AWS SOCI CLI v0.2",
        "compression": "gzip",
        "compressed_bytes": len(LAYER),
        "uncompressed_bytes": document["uncompressed_bytes"],
        "span_size_bytes": 65_536,
    }
    assert files[0] == {
        "name": "bin/app",
        "type": "reg",
        "offset": 1536,
        "size_bytes": 200_000,
        "link": None,
        "mode": 0o755,
        "uid": 0,
        "gid": 0,
        "modified": "1970-01-01T00:00:01.5Z",
        "xattrs": {"mtime": "1.5"},
    }
    assert (files[1]["type"], files[1]["link"]) == ("symlink", "bin/app")
    assert len(spans) == ZTOC.spans
    assert (spans[0]["start"], spans[-1]["end"], spans[0]["uncompressed_start"]) == (10, len(LAYER), 0)
    assert spans[0]["digest"].startswith("sha256:")


def test_a_ztoc_file_as_text_and_its_files_when_asked_for(soci_index, ztoc_file):
    short, long = (soci_index("inspect", ztoc_file, *flags).stdout for flags in ([], ["--files"]))

    assert str(ZTOC.digest) in short
    assert "built by AWS SOCI CLI v0.2" in short
    assert "gzip" in short
    assert "2 files" in short
    assert "1 span of 64.0 KiB" in short
    assert long.startswith(short)
    assert long.removeprefix(short).splitlines() == [
        "TYPE          SIZE  OFFSET  NAME",
        "reg      195.3 KiB    1536  bin/app",
        "symlink        0 B  202240  app",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a zTOC: it is empty"),
        (b"no flatbuffer", "is not a zTOC: "),
        (LAYER, "is not a zTOC: "),
        (bytes(ZTOC.ztoc[:-100]), "is not a zTOC: "),
    ],
    ids=["empty", "text", "layer", "cut short"],
)
def test_a_file_that_is_not_a_ztoc_is_an_error(soci_index, tmp_path, content, message):
    path = tmp_path / "file"
    path.write_bytes(content)

    result = soci_index("inspect", path, "--json", status=1)

    assert result.document["error"]["type"] == "InvalidZtoc"
    assert f"{path} {message}" in result.stderr


def test_a_file_larger_than_any_ztoc_is_refused_unread(soci_index, tmp_path):
    with (tmp_path / "file").open("wb") as file:
        file.truncate(MAX_ZTOC_BYTES + 1)  # sparse: it takes no space

    result = soci_index("inspect", tmp_path / "file", status=1)

    assert f"has {MAX_ZTOC_BYTES + 1} bytes, a zTOC at most {MAX_ZTOC_BYTES}" in result.stderr


@pytest.mark.parametrize(
    ("name", "message"),
    [("nothing", "No such file"), (".", "Is a directory"), ("n" * 300, "File name too long")],
    ids=["missing", "directory", "long name"],
)
def test_a_file_that_cannot_be_read_is_an_error(soci_index, tmp_path, name, message):
    assert message in soci_index("inspect", tmp_path / name, status=1).stderr


def test_a_name_with_a_colon_is_a_file_if_there_is_one(soci_index, ztoc_file):
    renamed = ztoc_file.rename(ztoc_file.with_name("oci:x"))

    assert soci_index("inspect", renamed, "--json").document["kind"] == "ztoc"


def test_an_image_as_json(soci_index, converted, layout):
    document = soci_index("inspect", converted, "--json").document

    root = OciLayout(layout, tag="latest-soci").fetch_root()
    [image] = document["images"]
    [other] = document["other_entries"]
    assert (document["kind"], document["digest"]) == ("image", str(root.digest))
    assert document["media_type"] == media_types.OCI_INDEX
    assert image["platform"] == PLATFORMS[0]
    assert [layer["digest"] for layer in image["layers"]] == [str(digest_of(one)) for one in (LAYER, UPPER)]
    assert image["layers"][0]["ztoc"] == {"digest": str(ZTOC.digest), "size_bytes": len(ZTOC.ztoc)}
    assert other == {
        "digest": image["soci_index"],
        "platform": PLATFORMS[0],
        "type": "application/vnd.amazon.soci.index.v2+json",
    }


def test_an_image_as_text(soci_index, converted):
    lines = soci_index("inspect", converted).stdout.splitlines()

    assert lines[0].startswith("image sha256:")
    assert lines[1].startswith(f"{PLATFORMS[0]}  manifest sha256:")
    assert lines[2].startswith("  SOCI index sha256:")
    assert lines[3].split() == ["LAYER", "SIZE", "ZTOC", "ZTOC", "SIZE", "MEDIA", "TYPE"]
    assert lines[4].split()[0] == digest_of(LAYER).hex[:12]
    assert ZTOC.digest.hex[:12] in lines[4]
    assert lines[-1].startswith("beside it: application/vnd.amazon.soci.index.v2+json sha256:")


def test_an_image_without_index_says_so(soci_index, layout):
    result = soci_index("inspect", f"oci:{layout}:latest")

    assert "  SOCI index none" in result.stdout
    [image] = soci_index("inspect", f"oci:{layout}:latest", "--json").document["images"]
    assert image["soci_index"] is None
    assert {str(layer["ztoc"]) for layer in image["layers"]} == {"None"}


def test_an_index_of_version_1_is_found_beside_its_image(soci_index, tmp_path):
    layout = layout_of(tmp_path, with_soci_v1_index(image_of(LAYER)))

    [image] = soci_index("inspect", f"oci:{layout}:latest", "--json").document["images"]

    assert image["layers"][0]["ztoc"]["digest"] == str(ZTOC.digest)


def test_all_platforms_are_shown(soci_index, tmp_path):
    images = [image_of(LAYER, platform=platform) for platform in PLATFORMS]
    layout = layout_of(tmp_path, with_soci_index(images[0], extra=images[1]))

    document = soci_index("inspect", f"oci:{layout}", "--json").document

    assert [(one["platform"], one["soci_index"] is None) for one in document["images"]] == [
        (PLATFORMS[0], False),
        (PLATFORMS[1], True),
    ]


def test_what_lies_beside_the_images_is_named_by_its_kind(soci_index, tmp_path):
    attestation = {"vnd.docker.reference.type": "attestation-manifest"}
    entries = [
        describe(b"1", media_types.OCI_MANIFEST, annotations=attestation),
        describe(b"2", media_types.OCI_MANIFEST, artifact_type="application/example"),
        describe(b"3", media_types.OCI_INDEX),
    ]
    layout = layout_of(tmp_path, multi_platform(image_of(LAYER), extra=entries))

    document = soci_index("inspect", f"oci:{layout}", "--json").document

    kinds = [entry["type"] for entry in document["other_entries"]]
    assert kinds == ["attestation-manifest", "application/example", media_types.OCI_INDEX]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_soci_index_by_its_digest(soci_index, tmp_path, version):
    image = image_of(LAYER, UPPER)
    layout = layout_of(tmp_path, with_soci_v1_index(image) if version == "v1" else with_soci_index(image))
    [shown] = soci_index("inspect", f"oci:{layout}:latest", "--json").document["images"]

    target = f"oci:{layout}@{shown['soci_index']}"
    document = soci_index("inspect", target, "--json").document
    text = soci_index("inspect", target).stdout

    assert (document["kind"], document["version"]) == ("soci-index", version)
    assert document["digest"] == shown["soci_index"]
    assert document["build_tool_identifier"] == "AWS SOCI CLI v0.2"
    assert document["subject"] == (str(image.root.digest) if version == "v1" else None)
    assert document["artifacts"][0] == {
        "kind": "ztoc",
        "digest": str(ZTOC.digest),
        "size_bytes": len(ZTOC.ztoc),
        "layer": str(digest_of(LAYER)),
        "span_size_bytes": "65536",
        "disable_xattrs": False,
    }
    assert text.startswith(f"SOCI index {document['digest']}, {version}\nbuilt by AWS SOCI CLI v0.2\n")
    assert ("for image manifest" in text) is (version == "v1")
    assert str(digest_of(UPPER)) in text


def test_a_prefetch_artifact_is_listed_as_one(soci_index, converted):
    [image] = soci_index("inspect", converted, "--json").document["images"]
    document = soci_index(
        "inspect", converted.rpartition(":")[0] + f"@{image['soci_index']}", "--json"
    ).document

    assert [artifact["kind"] for artifact in document["artifacts"]] == ["ztoc", "ztoc", "prefetch"]


def test_names_with_control_characters_are_escaped(soci_index, tmp_path):
    path = tmp_path / "file.ztoc"
    path.write_bytes(index_layer(gzip_of(tar_of(file("a\x1b[31m\n")))).ztoc)

    assert r"a\x1b[31m\n" in soci_index("inspect", path, "--files").stdout
    assert soci_index("inspect", path, "--json").document["files"][0]["name"] == "a\x1b[31m\n"


class TestStart:
    def recorded(self) -> bytes:
        read = FileRead(path=b"/bin/app", first_ms=0, last_ms=4)
        return encode_profile(make_profile([read], program=b"/bin/app", starts=2))

    def test_a_layer_shows_its_prefetch_with_ranges_and_bytes(self, soci_index, converted):
        [image] = soci_index("inspect", converted, "--json").document["images"]

        first, second = image["layers"]
        spans = decode_compression_info(ZTOC.ztoc).spans
        assert first["prefetch"].pop("digest").startswith("sha256:")
        assert first["prefetch"] == {
            "size_bytes": len(b'{"version":"1.0","prefetch_spans":[{"start_span":0,"end_span":0}]}'),
            "ranges": [{"start_span": 0, "end_span": 0}],
            "spans": 1,
            "span_bytes": spans[0].end - spans[0].start,
            "layer_spans": 1,
        }
        assert second["prefetch"] is None

    def test_so_does_the_text(self, soci_index, converted):
        text = soci_index("inspect", converted).stdout

        assert f"  prefetch of {digest_of(LAYER).hex[:12]}: " in text
        assert ", 1 of 1 span: 0\n" in text

    def test_many_ranges_are_counted_in_the_text(self, soci_index, tmp_path):
        layer = gzip_of(tar_of(file("a", noise(40 * 65_536))))
        ranges = [{"start_span": number, "end_span": number} for number in range(0, 30, 2)]
        artifact = json.dumps({"version": "1.0", "prefetch_spans": ranges}).encode()
        layout = layout_of(tmp_path, with_soci_index(image_of(layer), prefetch={0: artifact}))

        text = soci_index("inspect", f"oci:{layout}").stdout

        assert "15 of 40 spans: 0, 2, 4, 6, 8, 10, 12, 14, 16, 18 and 5 more ranges\n" in text

    def test_overlapping_ranges_count_once(self, soci_index, tmp_path):
        layer = gzip_of(tar_of(file("a", noise(9 * 65_536))))
        ranges = [{"start_span": 0, "end_span": 5}, {"start_span": 3, "end_span": 7}] * 3
        artifact = json.dumps({"version": "1.0", "prefetch_spans": ranges}).encode()
        layout = layout_of(tmp_path, with_soci_index(image_of(layer), prefetch={0: artifact}))

        [image] = soci_index("inspect", f"oci:{layout}", "--json").document["images"]

        assert image["layers"][0]["prefetch"]["spans"] == 8

    @pytest.mark.parametrize("artifact", [b"{}", b'{"version":"1.0","prefetch_spans":[{"end_span":9999}]}'])
    def test_a_broken_artifact_is_shown_as_such(self, soci_index, tmp_path, artifact):
        layout = layout_of(tmp_path, with_soci_index(image_of(LAYER), prefetch={0: artifact}))

        [image] = soci_index("inspect", f"oci:{layout}", "--json").document["images"]
        text = soci_index("inspect", f"oci:{layout}").stdout

        assert image["layers"][0]["prefetch"]["error"].startswith("prefetch artifact: ")
        assert ": unreadable: prefetch artifact: " in text

    def test_a_soci_index_shows_its_prefetch_and_what_decided_it(self, soci_index, layout):
        push_profile(store := OciLayout(layout, tag="latest"), store.fetch_root(), self.recorded())
        made = soci_index("convert", f"oci:{layout}:latest", "--min-layer-size", "0", "--json").document
        target = f"oci:{layout}@{made['platforms'][0]['index']}"

        document = soci_index("inspect", target, "--json").document
        text = soci_index("inspect", target).stdout

        assert document["prefetch_source"].startswith("sha256:")
        assert document["artifacts"][-1]["kind"] == "prefetch"
        assert document["artifacts"][-1]["ranges"] == [{"start_span": 0, "end_span": 0}]
        assert f"  prefetch of {digest_of(LAYER).hex[:12]}: " in text

    def test_the_profile_that_was_pushed_for_an_image_is_shown(self, soci_index, layout):
        push_profile(store := OciLayout(layout, tag="latest"), store.fetch_root(), self.recorded())

        [image] = soci_index("inspect", f"oci:{layout}:latest", "--json").document["images"]
        text = soci_index("inspect", f"oci:{layout}:latest").stdout

        digest = str(digest_of(self.recorded()))
        assert image["profile"].pop("artifact").startswith("sha256:")
        assert image["profile"] == {
            "digest": digest,
            "image": None,
            "program": "/bin/app",
            "starts": 2,
            "files": 1,
        }
        assert f"  start profile {digest}: 2 starts of /bin/app, 1 file\n" in text

    def test_a_profile_that_cannot_be_read_is_shown_as_such(self, soci_index, layout):
        push_profile(store := OciLayout(layout, tag="latest"), store.fetch_root(), b"[]")

        [image] = soci_index("inspect", f"oci:{layout}:latest", "--json").document["images"]

        assert image["profile"]["error"].startswith("start profile: ")
        assert "  start profile: unreadable: " in soci_index("inspect", f"oci:{layout}:latest").stdout

    def test_an_image_without_a_profile_has_none(self, soci_index, converted):
        [image] = soci_index("inspect", converted, "--json").document["images"]

        assert image["profile"] is None
