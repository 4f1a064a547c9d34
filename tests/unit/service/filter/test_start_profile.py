from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest

from local.registry import Answer
from soci.errors import RegistryUnavailable
from soci.image.documents import fetch_image
from soci.index.document import document_of
from soci.index.manifest import EMPTY_CONFIG
from soci.oci import media_types
from soci.oci.annotations import PROFILE_LINE
from soci.oci.platform import Platform
from soci.service.filter.start_profile import ChosenProfile, ProfileFinder
from soci.service.profile_messages import PlannedProfile, ProfileOrigin
from soci.service.usable_profile import LIMIT_BYTES
from soci.start.artifact import describe_profile, encode_profile_artifact
from soci.start.line import line_tag
from soci.start.profile import FileRead, encode_profile, make_profile
from soci.start.push_profile import push_line_profile, push_profile
from tests.builders import file, gzip_of, image_of, multi_platform, tar_of, text
from tests.unit.service.places import InMemory, configuration

LAYER = gzip_of(tar_of(file("app", text(20_000))))
IMAGE = image_of(LAYER, platform="linux/amd64")
AMD64, ARM64 = Platform.parse("linux/amd64"), Platform.parse("linux/arm64")
TAG = "soci-profile-linux-amd64"


def profile(path: bytes = b"/app", platform: Platform | None = AMD64) -> bytes:
    return encode_profile(make_profile([FileRead(path=path, first_ms=0, last_ms=1)], platform=platform))


def find(place: InMemory, tag: str | None = "1.4", **index: Any) -> ChosenProfile:
    source = place("app", "1.4")
    finder = ProfileFinder(
        repository="app",
        tag=tag,
        source=source,
        open_image=place,
        index=configuration(index=index).index,
    )
    return finder.find(fetch_image(source).images[0])


def planned(data: bytes, origin: ProfileOrigin, line: str | None = None) -> ChosenProfile:
    described = describe_profile(data)
    return ChosenProfile(
        profile=PlannedProfile(digest=described.digest, size=described.size, origin=origin, line=line)
    )


def own(place: InMemory, data: bytes) -> None:
    store = place("app", "1.4")
    push_profile(store, fetch_image(store).images[0].descriptor, data)


def put_line(place: InMemory, data: bytes, *, pattern: str = "*", says: str | None = None) -> None:
    """Put bytes where a line's profile lies, whatever they are."""
    store = place("app", "1.4")
    blob = describe_profile(data)
    line = pattern if says is None else says
    made = encode_profile_artifact(blob, subject=None, annotations={PROFILE_LINE: line} if line else {})
    store.push_blob(EMPTY_CONFIG.descriptor, (EMPTY_CONFIG.data,))
    store.push_blob(blob, (data,))
    store.push_manifest(made.descriptor, made.data)
    store.push_root(made.descriptor, line_tag(pattern, AMD64))


@pytest.fixture
def place(memory):
    memory.put("app", IMAGE, "1.4")
    return memory


def test_an_image_without_a_profile_costs_two_requests(place):
    fetch_image(place("app", "1.4"))
    image = len(place.registry.requests)
    place.registry.forget_requests()

    assert find(place) == ChosenProfile()

    asked = [seen.path.partition("/app/")[2] for seen in place.registry.requests[image:]]
    assert asked == [f"referrers/{IMAGE.root.digest}", f"manifests/{TAG}"]


def test_the_images_own_profile_comes_before_that_of_its_line(place):
    push_line_profile(partial(place, "app"), "*", AMD64, profile(b"/line"))
    assert find(place) == planned(profile(b"/line"), ProfileOrigin.LINE, "*")

    own(place, profile(b"/own"))

    assert find(place) == planned(profile(b"/own"), ProfileOrigin.IMAGE)
    assert find(place, start_profiles="image") == planned(profile(b"/own"), ProfileOrigin.IMAGE)
    assert find(place, start_profiles="off") == ChosenProfile()


def test_without_lines_only_a_profile_that_refers_to_the_image_counts(place):
    push_line_profile(partial(place, "app"), "*", AMD64, profile())

    assert find(place, start_profiles="image") == ChosenProfile()


def test_the_first_line_that_fits_the_tag_and_has_a_profile_counts(place):
    for pattern in ("*", "web-*", "web-1?"):
        push_line_profile(partial(place, "app"), pattern, AMD64, profile(pattern.encode().join((b"/", b""))))
    lines = ["api-*", "web-1?", "web-*"]

    def line(tag: str | None, patterns: list[str]) -> str | None:
        chosen = find(place, tag, profile_lines=patterns).profile
        return None if chosen is None else chosen.line

    assert line("web-12", lines) == "web-1?"
    assert line("web-3", lines) == "web-*"
    assert line("api-3", lines) == "*", "this line has no profile"
    assert line("1.4", lines) == "*"
    assert line(None, lines) == "*"
    assert line("web-12", []) == "*", "the settings name the lines"


def test_the_profile_of_another_platform_is_not_looked_at(place):
    push_line_profile(partial(place, "app"), "*", ARM64, profile(platform=ARM64))

    assert find(place) == ChosenProfile()


def test_each_platform_has_its_own(memory):
    memory.put("app", multi_platform(IMAGE, image_of(LAYER, platform="linux/arm64/v8")), "1.4")
    push_line_profile(partial(memory, "app"), "*", ARM64, profile(b"/arm", ARM64))
    push_line_profile(partial(memory, "app"), "*", AMD64, profile(b"/amd", None))
    source = memory("app", "1.4")
    finder = ProfileFinder(
        repository="app", tag="1.4", source=source, open_image=memory, index=configuration().index
    )

    found = [finder.find(one) for one in fetch_image(source).images]

    assert [one.profile and one.profile.digest for one in found] == [
        describe_profile(profile(b"/amd", None)).digest,
        describe_profile(profile(b"/arm", ARM64)).digest,
    ]


BROKEN = {
    "no JSON": (b"{", "not valid JSON"),
    "a list": (b"[]", "start profile"),
    "another version": (b'{"version":"9.0","files":[]}', "version"),
    "another platform": (profile(platform=ARM64), "for linux/arm64, want linux/amd64"),
    "a million paths": (
        b'{"version":"1.0","files":[' + b"{}," * 1_000_000 + b"{}]}",
        "more than 100000 files",
    ),
    "too large": (b" " * (LIMIT_BYTES + 1), f"the limit is {LIMIT_BYTES}"),
    "nested": (b'{"version":"1.0","files":' + b"[" * 5_000 + b"]" * 5_000 + b"}", "nested"),
    "a path that leaves the image": (
        b'{"version":"1.0","files":[{"path":"/../etc","first_ms":0,"last_ms":0}]}',
        "no absolute, normal path",
    ),
}


@pytest.mark.parametrize(("data", "problem"), BROKEN.values(), ids=BROKEN)
def test_a_profile_that_cannot_be_used_leaves_its_place_to_the_next_and_is_told(place, data, problem):
    put_line(place, data)
    chosen = find(place)
    assert chosen.profile is None
    assert problem in chosen.problem

    push_line_profile(partial(place, "app"), "*", AMD64, profile())
    own(place, data)

    chosen = find(place)
    assert chosen.profile == planned(profile(), ProfileOrigin.LINE, "*").profile
    assert problem in chosen.problem


def test_a_tag_alone_says_nothing(place):
    place.put("app", IMAGE, TAG)
    assert "want a start profile" in find(place).problem

    put_line(place, profile(), says="web-*")
    assert find(place).problem == f"tag {TAG}: a start profile of the line 'web-*', want '*'"

    put_line(place, profile(), says="")
    assert find(place).problem == f"tag {TAG}: a start profile of no line, want '*'"

    several = place("app", "1.4").fetch_root()
    index = {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": [several.to_json()]}
    document = document_of(media_types.OCI_INDEX, json.dumps(index).encode())
    place("app", "1.4").push_manifest(document.descriptor, document.data)
    place("app", "1.4").push_root(document.descriptor, TAG)
    assert "an image index, where an image manifest was expected" in find(place).problem


@pytest.mark.parametrize("status", [404, 403])
def test_a_blob_that_is_missing_or_forbidden_is_a_problem(place, status):
    push_line_profile(partial(place, "app"), "*", AMD64, profile())
    blob = str(describe_profile(profile()).digest)
    place.registry.fail(Answer(status), where=lambda seen: blob in seen.path, times=None)

    chosen = find(place)

    assert chosen.profile is None
    assert blob in chosen.problem


def test_wrong_bytes_are_a_problem(place):
    push_line_profile(partial(place, "app"), "*", AMD64, profile())
    blobs = place.registry.repository("app").blobs
    digest = str(describe_profile(profile()).digest)
    blobs[digest] = profile().replace(b"/app", b"/xyz")

    chosen = find(place)

    assert chosen.profile is None
    assert digest in chosen.problem


@pytest.mark.parametrize("path", ["referrers", TAG, "/blobs/"])
def test_a_registry_that_is_busy_is_asked_again_later(place, path):
    push_line_profile(partial(place, "app"), "*", AMD64, profile())
    place.registry.fail(Answer(503), where=lambda seen: path in seen.path, times=None)

    with pytest.raises(RegistryUnavailable):
        find(place)


def test_a_list_of_referrers_that_is_forbidden_is_a_problem(place):
    push_line_profile(partial(place, "app"), "*", AMD64, profile())
    place.registry.fail(Answer(403), where=lambda seen: "referrers" in seen.path, times=None)

    chosen = find(place)

    assert chosen.profile == planned(profile(), ProfileOrigin.LINE, "*").profile
    assert "referrers" in chosen.problem
