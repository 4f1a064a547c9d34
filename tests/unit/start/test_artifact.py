from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import pytest

from local.registry import Behaviour
from soci.errors import BlobMissing, DigestMismatch, InvalidDocument, InvalidOption, TagImmutable
from soci.index.classify import Content, classify
from soci.oci import media_types
from soci.oci.annotations import PROFILE_LINE, PROFILE_REVISION
from soci.oci.digest import digest_of
from soci.oci.platform import Platform
from soci.start.artifact import (
    describe_profile,
    encode_profile_artifact,
    fetch_profile,
    find_artifacts,
    parse_profile_artifact,
)
from soci.start.line import check_is_of_line, check_line, line_tag, lines_of
from soci.start.profile import FileRead, encode_profile, make_profile, parse_profile
from soci.start.push_profile import push_line_profile, push_profile
from tests.builders import file, gzip_of, image_of, tar_of, text
from tests.unit.service.places import in_memory

IMAGE = image_of(gzip_of(tar_of(file("app", text(20_000)))))
AMD64 = Platform.parse("linux/amd64")


def profile(path: bytes = b"/app") -> bytes:
    return encode_profile(make_profile([FileRead(path=path, first_ms=0, last_ms=1)]))


@pytest.fixture(
    params=[Behaviour(rates={}), Behaviour.plain()], ids=["as ECR", "with a list under a fallback tag"]
)
def registry(request):
    with in_memory(request.param) as place:
        place.put("app", IMAGE, "1.4")
        yield place


def test_a_pushed_profile_is_found_by_the_image_and_starts_nothing(registry):
    store = registry("app", "1.4")

    made = push_profile(store, store.fetch_root(), profile())

    fresh = registry("app", "1.4")
    (found,) = find_artifacts(fresh, fresh.fetch_root())
    assert found.digest == made.descriptor.digest
    artifact = parse_profile_artifact(fresh.fetch_manifest(found), "artifact")
    assert artifact.subject is not None
    assert artifact.subject.digest == IMAGE.root.digest
    assert fetch_profile(fresh, artifact.profile) == parse_profile(profile())
    assert classify(found, fresh.fetch_manifest(found)) is Content.ARTIFACT


def test_the_profile_pushed_last_comes_first_in_whatever_order_the_registry_lists_them(registry):
    store = registry("app", "1.4")
    paths = [b"/a", b"/b", b"/a", b"/a"]
    made = [push_profile(store, store.fetch_root(), profile(path)) for path in paths]

    found = find_artifacts(registry("app", "1.4"), IMAGE.root)

    assert [one.digest for one in found] == [one.descriptor.digest for one in reversed(made[:3])]
    assert made[3] == made[2], "pushed again, it is the same artifact"


def test_the_profile_of_a_line_has_a_tag_of_its_own_and_outlives_the_image(registry):
    tag, made = push_line_profile(partial(registry, "app"), "*", AMD64, profile())

    assert tag == "soci-profile-linux-amd64"
    there = registry("app", tag)
    data = there.fetch_manifest(there.fetch_root())
    assert data == made.data
    artifact = parse_profile_artifact(data, tag)
    assert artifact.subject is None, "ECR deletes what refers to an image together with the image"
    check_is_of_line(artifact, "*", tag)
    with pytest.raises(InvalidDocument, match=r"of the line '\*', want 'web-\*'"):
        check_is_of_line(artifact, "web-*", tag)

    _, second = push_line_profile(partial(registry, "app"), "*", AMD64, profile(b"/b"))
    assert registry("app", tag).fetch_root().digest == second.descriptor.digest != made.descriptor.digest


def test_a_tag_that_names_something_else_is_left_alone(registry):
    registry.put("app", IMAGE, "soci-profile-linux-amd64")

    with pytest.raises(InvalidDocument, match=r"want a start profile.*left alone"):
        push_line_profile(partial(registry, "app"), "*", AMD64, profile())

    assert registry("app", "soci-profile-linux-amd64").fetch_root().digest == IMAGE.root.digest


def test_a_tag_that_may_not_move_says_what_to_do():
    with in_memory(Behaviour(rates={}, immutable_tags=True)) as place:
        push_line_profile(partial(place, "app"), "*", AMD64, profile())
        push_line_profile(partial(place, "app"), "*", AMD64, profile())

        with pytest.raises(TagImmutable, match=r"soci-profile\*.*delete the tag"):
            push_line_profile(partial(place, "app"), "*", AMD64, profile(b"/b"))


def test_the_tags_of_lines_differ_by_pattern_and_platform():
    tags = {
        line_tag(pattern, Platform.parse(platform))
        for pattern in ("*", "web-*", "web-?", "a" * 128)
        for platform in ("linux/amd64", "linux/arm64", "linux/arm/v7", "linux/" + "x" * 200)
    }

    assert len(tags) == 16
    assert max(map(len, tags)) <= 128
    assert line_tag("*", Platform.parse("linux/arm64/v8")) == "soci-profile-linux-arm64"
    assert line_tag("*", Platform(os="li nux", architecture="a/b")) == "soci-profile-li_nux-a_b"


@pytest.mark.parametrize(
    ("tag", "lines"),
    [
        ("web-7", ["web-*", "*"]),
        ("db-1", ["*"]),
        ("web-db", ["web-*", "*-db", "*"]),
        (None, ["*"]),
    ],
)
def test_an_image_belongs_to_the_lines_that_its_tag_fits_then_to_its_repository(tag, lines):
    assert list(lines_of(tag, ["web-*", "*", "*-db"])) == lines


@pytest.mark.parametrize("pattern", ["", "a b", "x" * 129, "a/b", "ü"])
def test_a_line_needs_a_pattern_that_a_tag_can_match(pattern):
    with pytest.raises(InvalidOption, match="line"):
        check_line(pattern)


GOOD = encode_profile_artifact(describe_profile(profile()), subject=None, annotations={})


def changed(**members: object) -> bytes:
    return json.dumps(json.loads(GOOD.data) | members).encode()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (changed(artifactType="application/x"), "'application/x', want a start profile"),
        (changed(layers=[]), "0 layers"),
        (changed(layers=None), "0 layers"),
        (changed(layers=json.loads(GOOD.data)["layers"] * 2), "2 layers"),
        (changed(layers=[json.loads(IMAGE.document)["layers"][0]]), "1 layers, want one of type"),
        (IMAGE.document, "image.config.v1.json', want a start profile"),
        (b"{", "not valid JSON"),
    ],
    ids=["another type", "no layer", "null", "two", "another layer", "an image", "no JSON"],
)
def test_a_manifest_that_is_no_profile_is_refused_with_what_it_is(data, message):
    with pytest.raises(InvalidDocument, match=message):
        parse_profile_artifact(data, "artifact")


def test_the_bytes_of_a_profile_are_checked_before_they_are_read(registry):
    store = registry("app", "1.4")
    described = describe_profile(profile())
    with pytest.raises(BlobMissing):
        fetch_profile(store, described)
    store.push_blob(described, (profile(),))
    with pytest.raises(InvalidDocument, match="limit is 10"):
        fetch_profile(store, described, limit_bytes=10)
    broken = replace(described, digest=digest_of(b"[]"), size=2)
    store.push_blob(broken, (b"[]",))
    with pytest.raises(InvalidDocument, match="start profile"):
        fetch_profile(store, broken)
    registry.registry.repository("app").blobs[str(described.digest)] = profile(b"/xyz")
    with pytest.raises((DigestMismatch, InvalidDocument)):
        fetch_profile(registry("app", "1.4"), described)


@pytest.mark.parametrize("text", ["x", "", "-1", "9" * 10, "\u0663"])
def test_a_revision_that_is_no_number_counts_as_none(registry, text):
    store = registry("app", "1.4")
    strange = encode_profile_artifact(
        describe_profile(profile()), subject=IMAGE.root, annotations={PROFILE_REVISION: text}
    )
    push_profile(store, IMAGE.root, profile())
    store.push_manifest(strange.descriptor, strange.data)

    assert find_artifacts(registry("app", "1.4"), IMAGE.root)[-1].digest == strange.descriptor.digest


def test_a_million_paths_are_refused_before_they_are_decoded():
    for data in (b'{"files":[' + b"{}," * 1_000_000 + b"{}]}", b'{"files":[' + b"[]," * 1_000_000 + b"[]]}"):
        with pytest.raises(InvalidDocument, match="more than 100000 files"):
            parse_profile(data)


def test_the_names_that_others_read_do_not_change():
    assert PROFILE_LINE == "vnd.soci-index-builder.line"
    assert PROFILE_REVISION == "vnd.soci-index-builder.revision"
    assert media_types.START_PROFILE == "application/vnd.soci-index-builder.start-profile.v1+json"
