from __future__ import annotations

import json
from dataclasses import replace

import pytest

from local.registry import Answer, BearerLogin, Behaviour, Harm, Lie, Registry, request_to
from soci.errors import (
    BlobMissing,
    DeletionRefused,
    DigestMismatch,
    InvalidDocument,
    InvalidResponse,
    NotInImage,
    RegistryError,
    RegistryUnavailable,
    TagImmutable,
    TagNotDeletable,
    Unauthorized,
)
from soci.image.copy import copy_trees
from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest, digest_of
from soci.oci.manifest import ImageIndex, ImageManifest
from soci.oci.reference import RegistryRef
from soci.places.ports import BlobMounter, DescriptorSource, ImageStore, ReferrerSource
from soci.places.registry.connect import connect
from soci.places.registry.credentials import Login, NoLogins
from soci.places.registry.manifests import TAG_SECONDS
from soci.places.registry.referrers import fallback_tag, with_referrer, without_referrer
from soci.places.registry.repository import RegistryRepository
from soci.places.registry.retry import RetryPolicy
from soci.places.registry.transport import Timeouts
from tests.builders import describe, image_of
from tests.fake_time import FakeTime
from tests.raw_server import http, raw_server
from tests.registries import open_repository

IMAGE = image_of(b"layer one", b"layer two")
OTHER = image_of(b"another layer")
ROOT, OTHER_ROOT = (replace(image.root, platform=None) for image in (IMAGE, OTHER))
LAYER = (ImageManifest.parse(IMAGE.document).layers or ())[0]
ARTIFACT_TYPE = media_types.SOCI_INDEX_V1


def repository_at(
    host: str,
    name: str = "app",
    tag: str | None = None,
    digest: Digest | None = None,
    time: FakeTime | None = None,
) -> RegistryRepository:
    return open_repository(
        RegistryRef(host=host, repository=name, tag=tag, digest=digest),
        retries=RetryPolicy(clock=(time or FakeTime()).clock()),
        timeouts=Timeouts(connect_seconds=2, read_seconds=0.3),
        logins=NoLogins(),
    )


@pytest.fixture
def registry():
    with Registry(Behaviour(rates={})) as registry:
        app = registry.repository("app")
        for image, tag in ((IMAGE, "1.0"), (OTHER, "latest")):
            for digest, blob in image.blobs.items():
                if digest != image.root.digest:
                    app.put_blob(blob)
            app.put_manifest(image.document, tag=tag)
        yield registry


@pytest.fixture
def repository(registry) -> RegistryRepository:
    return repository_at(registry.host, tag="1.0")


def referrer_of(
    subject: Descriptor, name: str, artifact_type: str = ARTIFACT_TYPE
) -> tuple[Descriptor, bytes]:
    manifest = ImageManifest(
        artifact_type=artifact_type,
        config=describe(b"{}", media_types.OCI_EMPTY),
        layers=(),
        subject=subject,
        annotations={"name": name},
    ).encode()
    return describe(manifest, media_types.OCI_MANIFEST), manifest


def paths(registry: Registry, method: str = "GET") -> list[str]:
    return [seen.path.removeprefix("/v2/app/") for seen in registry.requests if seen.method == method]


def test_a_repository_implements_all_ports(repository):
    store: ImageStore = repository

    assert store is repository
    assert isinstance(repository, DescriptorSource)
    assert isinstance(repository, ReferrerSource)
    assert isinstance(repository, BlobMounter)
    assert str(repository).endswith("/app")


# Reading


def test_the_image_is_that_of_the_tag_of_the_digest_or_the_latest(registry):
    roots = [
        repository_at(registry.host, tag="1.0").fetch_root(),
        repository_at(registry.host, tag="latest", digest=ROOT.digest).fetch_root(),
        repository_at(registry.host).fetch_root(),
    ]

    assert roots == [ROOT, ROOT, OTHER_ROOT]


def test_a_tag_is_read_again_each_time_and_a_digest_is_not(registry, repository):
    assert repository.fetch_root() == ROOT
    registry.repository("app").tags["1.0"] = str(OTHER_ROOT.digest)
    assert repository.fetch_root() == OTHER_ROOT

    registry.forget_requests()
    fixed = repository_at(registry.host, digest=ROOT.digest)
    assert fixed.fetch_root() == fixed.fetch_root() == ROOT
    assert len(registry.requests) == 1


def test_a_document_is_requested_once(registry, repository):
    root = repository.fetch_root()

    assert repository.fetch_manifest(root) == IMAGE.document
    assert repository.has_blob(root)
    assert repository.fetch_descriptor(root.digest) == root
    assert paths(registry) == ["manifests/1.0"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("app", "MANIFEST_UNKNOWN: Requested image not found"),
        ("other", "NAME_UNKNOWN: The repository with name 'other' does not exist in the registry"),
    ],
)
def test_a_missing_tag_or_repository_is_an_error_with_the_registry_s_text(registry, name, words):
    with pytest.raises(NotInImage, match=f"{registry.host}/{name}: no image 9: {words}"):
        repository_at(registry.host, name, tag="9").fetch_root()


def test_a_web_page_with_404_does_not_mean_a_missing_image():
    page = http(404, b"<html>Not here</html>", Content_Type="text/html; charset=utf-8")
    with raw_server(page) as server, pytest.raises(RegistryError, match="status 404, <html>Not here"):
        repository_at(server.url.removeprefix("http://")).fetch_root()


def test_a_config_is_a_blob_and_its_size_is_limited(repository):
    config = ImageManifest.parse(IMAGE.document).config

    assert json.loads(repository.fetch_manifest(config))["os"] == "linux"
    huge = Descriptor(media_type=media_types.OCI_CONFIG, digest=config.digest, size=1 << 30)
    with pytest.raises(InvalidDocument, match="the limit for such a document"):
        repository.fetch_manifest(huge)


def test_a_manifest_with_another_digest_is_refused(registry, repository):
    registry.fail(Harm.WRONG_BYTE)

    with pytest.raises(DigestMismatch, match="the manifest's digest is"):
        repository.fetch_descriptor(ROOT.digest)


@pytest.mark.parametrize(
    ("lie", "problem"),
    [
        (
            {"Docker-Content-Digest": str(digest_of(b"x"))},
            "Docker-Content-Digest is 'sha256:.*, but the digest is sha256:",
        ),
        ({"Docker-Content-Digest": "junk"}, "Docker-Content-Digest is 'junk', but the digest is sha256:"),
        (
            {"Docker-Content-Digest": f"sha512:{0:0128}"},
            "Docker-Content-Digest is 'sha512:000.*, but the digest is sha512:",
        ),
        ({"Content-Type": media_types.OCI_INDEX}, "Content-Type is .*index.* but the document is .*manifest"),
        (
            {"Content-Type": media_types.OCI_CONFIG},
            "Content-Type is .*config.* but the document is .*manifest",
        ),
        ({"Content-Type": "text/html"}, "Content-Type is text/html, but the document is .*manifest"),
    ],
    ids=["digest", "no digest", "digest of another kind", "index", "config", "web page"],
)
def test_a_manifest_that_contradicts_its_headers_is_refused(registry, repository, lie, problem):
    registry.fail(Lie(lie))

    with pytest.raises(InvalidResponse, match=problem):
        repository.fetch_root()


@pytest.mark.parametrize(
    "truth",
    [
        {"Content-Type": "application/json; charset=utf-8"},
        {"Content-Type": "application/octet-stream"},
        {"Docker-Content-Digest": str(digest_of(IMAGE.document, "sha512"))},
    ],
    ids=["json", "bytes", "digest of another kind"],
)
def test_headers_that_do_not_contradict_a_manifest_are_accepted(registry, repository, truth):
    registry.fail(Lie(truth))

    assert repository.fetch_root() == ROOT


@pytest.mark.parametrize("said", [str(digest_of(b"x")), "junk"])
def test_a_blob_with_another_digest_in_the_header_is_refused(registry, said):
    repository = repository_at(registry.host)
    registry.fail(Lie({"Docker-Content-Digest": said}))

    with pytest.raises(
        InvalidResponse, match=f"Docker-Content-Digest is '{said}', but the digest is {LAYER.digest}"
    ):
        repository.has_blob(LAYER)


def test_a_document_that_is_no_manifest_is_refused():
    with raw_server(http(200, b"<html>", Content_Type="text/html")) as server, pytest.raises(InvalidDocument):
        repository_at(server.url.removeprefix("http://")).fetch_root()


@pytest.mark.parametrize("redirects", [True, False])
def test_a_blob_of_another_size_does_not_exist(redirects):
    layer = LAYER
    with Registry(Behaviour(redirects_blobs=redirects, rates={})) as registry:
        registry.repository("app").put_blob(IMAGE.blobs[layer.digest])
        repository = repository_at(registry.host)

        assert repository.has_blob(layer)
        assert not repository.has_blob(Descriptor(media_type="x", digest=layer.digest, size=layer.size + 1))
        assert not repository.has_blob(describe(b"absent", "x"))
        assert not repository.has_blob(describe(b"absent", media_types.OCI_MANIFEST))


ELSEWHERE = http(307, Location="/elsewhere")
LOGIN_PAGE = http(200, b"<html>log in</html>", Content_Type="text/html")


@pytest.mark.parametrize(
    ("end", "is_there"),
    [
        (http(206, b"x", Content_Range="bytes 0-0/5"), True),
        (http(200, b"xxxxx"), True),
        (http(206, b"x", Content_Range="bytes 0-0/6"), False),
        (http(206, b"x", Content_Range="bytes 0-0/*"), False),
        (http(404), False),
        (LOGIN_PAGE, False),
    ],
    ids=["range", "whole", "other size", "unknown size", "nothing", "login page"],
)
def test_a_redirected_head_is_decided_by_the_size_at_its_target(end, is_there):
    with raw_server([ELSEWHERE, ELSEWHERE, end]) as server:
        repository = repository_at(server.url.removeprefix("http://"))

        assert repository.has_blob(describe(b"xxxxx", "x")) is is_there

    assert [request.split()[0] for request in server.requests] == [b"HEAD", b"GET", b"GET"]


def test_an_empty_blob_is_requested_without_a_range():
    empty = describe(b"", "x")
    with raw_server([ELSEWHERE, ELSEWHERE, http(200)]) as server:
        repository = repository_at(server.url.removeprefix("http://"))

        assert repository.has_blob(empty)

    assert not any(b"Range:" in request for request in server.requests)


def test_a_redirect_with_the_blob_s_digest_is_enough():
    blob = describe(b"x", "x")
    named = http(307, Location="https://elsewhere.invalid/", Docker_Content_Digest=str(blob.digest))
    with raw_server(named) as server:
        assert repository_at(server.url.removeprefix("http://")).has_blob(blob)


def test_a_redirect_to_a_forbidden_blob_is_an_error():
    with raw_server([ELSEWHERE, ELSEWHERE, http(403)]) as server, pytest.raises(RegistryError, match="403"):
        repository_at(server.url.removeprefix("http://")).has_blob(describe(b"x", "x"))


def test_a_manifest_whose_head_is_redirected_is_read():
    answer = http(200, IMAGE.document, Content_Type=ROOT.media_type)
    with raw_server([ELSEWHERE, ELSEWHERE, answer]) as server:
        repository_at(server.url.removeprefix("http://")).push_manifest(ROOT, IMAGE.document)

    assert [request.split()[0] for request in server.requests] == [b"HEAD", b"GET", b"GET"]


def test_a_login_page_is_no_manifest():
    with raw_server([ELSEWHERE, ELSEWHERE, LOGIN_PAGE]) as server, pytest.raises(DigestMismatch):
        repository_at(server.url.removeprefix("http://")).push_manifest(ROOT, IMAGE.document)


def test_a_missing_manifest_is_an_error(repository):
    absent = describe(b"absent", media_types.OCI_MANIFEST)

    with pytest.raises(BlobMissing, match=f"no manifest {absent.digest}"):
        repository.fetch_manifest(absent)
    with pytest.raises(BlobMissing):
        repository.fetch_descriptor(absent.digest)


# Lists


@pytest.mark.parametrize("page", [1, 2, 100])
def test_tags_come_page_by_page(page):
    with Registry(Behaviour(max_page_entries=page, rates={})) as registry:
        for tag in ("a", "b", "c"):
            registry.repository("app").put_manifest(IMAGE.document, tag=tag)
        assert list(repository_at(registry.host).fetch_tags()) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("link", "problem"),
    [
        ('</v2/app/tags/list?n=1000>; rel="next"', "the next page is"),
        (
            '<https://elsewhere.invalid/>; rel="next"',
            "the next page is https://elsewhere.invalid/, a page seen before or of another server",
        ),
        ("<http://[bad/>; rel=next", "tags/list.*a header with a malformed URL"),
    ],
    ids=["in a circle", "elsewhere", "no address"],
)
def test_an_invalid_next_page_is_refused(link, problem):
    with (
        raw_server(http(200, b'{"tags": ["a"]}', Link=link)) as server,
        pytest.raises(InvalidResponse, match=problem),
    ):
        list(repository_at(server.url.removeprefix("http://")).fetch_tags())


def test_a_list_without_tags_is_empty():
    with raw_server(http(200, b'{"tags": null}', Link='</x>; rel="prev"')) as server:
        assert list(repository_at(server.url.removeprefix("http://")).fetch_tags()) == []


@pytest.fixture(params=["api", "fallback tag"])
def any_registry(request, registry):
    behaviour = Behaviour(referrers_api=request.param == "api", rates={}, max_page_entries=2)
    with Registry(behaviour) as other:
        app = other.repository("app")
        app.blobs |= registry.repository("app").blobs
        app.manifests |= registry.repository("app").manifests
        app.put_blob(b"{}")
        yield other


def test_referrers_are_found_with_and_without_the_api(any_registry):
    repository = repository_at(any_registry.host)
    pushed = [referrer_of(ROOT, name) for name in "abc"]
    other = referrer_of(ROOT, "signature", "application/vnd.example.signature")
    for descriptor, data in (*pushed, other, pushed[0]):
        repository.push_manifest(descriptor, data)

    found = repository.fetch_referrers(ROOT.digest, ARTIFACT_TYPE)

    assert {entry.digest for entry in found} == {descriptor.digest for descriptor, _ in pushed}
    assert sorted(entry.annotations["name"] for entry in found) == ["a", "b", "c"]
    assert [entry.artifact_type for entry in found] == [ARTIFACT_TYPE] * 3
    assert repository.fetch_referrers(OTHER_ROOT.digest, ARTIFACT_TYPE) == []


def test_the_fallback_tag_is_used_only_without_the_api(any_registry):
    repository = repository_at(any_registry.host)
    repository.push_manifest(*referrer_of(ROOT, "a"))
    has_api = any(seen.status == 200 for seen in referrer_requests(any_registry, repository))

    assert (fallback_tag(ROOT.digest) in any_registry.repository("app").tags) is not has_api


def referrer_requests(registry: Registry, repository: RegistryRepository):
    repository.fetch_referrers(ROOT.digest, ARTIFACT_TYPE)
    return [seen for seen in registry.requests if "/referrers/" in seen.path]


def test_a_referrer_that_is_deleted_is_no_longer_listed(registry, repository):
    registry.repository("app").put_blob(b"{}")
    first, second = (referrer_of(ROOT, name) for name in "ab")
    repository.push_manifest(*first)
    repository.push_manifest(*second)

    assert repository.delete_manifest(first[0].digest)
    assert not repository.delete_manifest(first[0].digest)

    found = repository.fetch_referrers(ROOT.digest, ARTIFACT_TYPE)
    assert [entry.digest for entry in found] == [second[0].digest]


def test_a_list_of_referrers_has_no_duplicates_and_the_newest_first():
    first, second = (referrer_of(ROOT, name)[0] for name in "ab")
    index = with_referrer(with_referrer(ImageIndex(manifests=None), first), second)

    assert index.manifests == (second, first)
    assert with_referrer(index, second) == index
    assert with_referrer(index, first).manifests == (first, second)
    assert without_referrer(index, first.digest).manifests == (second,)


def test_an_overwritten_entry_is_written_again():
    tag = fallback_tag(ROOT.digest)
    theirs = replace(referrer_of(ROOT, "theirs")[0], artifact_type=ARTIFACT_TYPE)
    their_list = ImageIndex(manifests=(theirs,)).encode()
    overtaken: list[str] = []

    def overtake(event):
        if event["detail"]["image-tag"] == tag and not overtaken:
            overtaken.append(app.put_manifest(their_list, media_types.OCI_INDEX, tag=tag))

    with Registry(
        Behaviour(referrers_api=False, checks_references=False, rates={}), on_event=overtake
    ) as registry:
        app = registry.repository("app")
        repository = repository_at(registry.host)
        ours, data = referrer_of(ROOT, "ours")
        repository.push_manifest(ours, data)
        found = repository.fetch_referrers(ROOT.digest, ARTIFACT_TYPE)

    assert overtaken
    assert [entry.digest for entry in found] == [ours.digest, theirs.digest]


def test_a_list_that_others_keep_overwriting_is_an_error():
    def overtake(event):
        tag = event["detail"]["image-tag"]
        if tag:
            app.put_manifest(ImageIndex(manifests=()).encode(), media_types.OCI_INDEX, tag=tag)

    with Registry(
        Behaviour(referrers_api=False, checks_references=False, rates={}), on_event=overtake
    ) as registry:
        app = registry.repository("app")
        with pytest.raises(RegistryUnavailable, match="other clients keep changing tag"):
            repository_at(registry.host).push_manifest(*referrer_of(ROOT, "ours"))


def test_a_fallback_tag_on_something_else_is_refused():
    with Registry(Behaviour(referrers_api=False, rates={})) as registry:
        registry.repository("app").put_manifest(IMAGE.document, tag=fallback_tag(ROOT.digest))

        with pytest.raises(InvalidResponse, match="is not a list of referrers"):
            repository_at(registry.host).fetch_referrers(ROOT.digest, ARTIFACT_TYPE)


# Writing


def test_an_existing_manifest_is_not_sent_again(registry, repository):
    repository.push_manifest(OTHER_ROOT, OTHER.document)

    assert paths(registry, "PUT") == []


def test_an_existing_listed_referrer_is_not_sent_again(any_registry):
    referrer = referrer_of(ROOT, "a")
    repository_at(any_registry.host).push_manifest(*referrer)
    any_registry.forget_requests()

    repository_at(any_registry.host).push_manifest(*referrer)

    assert paths(any_registry, "PUT") == []


def test_an_existing_unlisted_referrer_is_sent_and_listed():
    descriptor, data = referrer_of(ROOT, "a")
    with Registry(Behaviour(referrers_api=False, rates={})) as registry:
        registry.repository("app").put_blob(b"{}")
        repository_at(registry.host).push_manifest(descriptor, data)
        del registry.repository("app").tags[fallback_tag(ROOT.digest)]

        repository_at(registry.host).push_manifest(descriptor, data)

        [entry] = repository_at(registry.host).fetch_referrers(ROOT.digest, ARTIFACT_TYPE)
    assert entry.digest == descriptor.digest


def test_a_manifest_of_another_digest_than_described_is_not_sent(registry, repository):
    with pytest.raises(DigestMismatch):
        repository.push_manifest(replace(ROOT, digest=digest_of(b"x")), IMAGE.document)

    assert registry.requests == []


def test_a_blob_of_another_digest_than_described_is_refused(registry, repository):
    with pytest.raises(DigestMismatch):
        repository.push_blob(describe(b"content", "x"), [b"CONTENT"])

    assert digest_of(b"CONTENT") not in registry.repository("app").blobs


def test_a_tag_points_to_the_pushed_manifest(registry, repository):
    repository.push_root(OTHER_ROOT, "1.0")
    repository.push_root(OTHER_ROOT, None)

    assert registry.repository("app").tags["1.0"] == str(OTHER_ROOT.digest)
    with pytest.raises(BlobMissing):
        repository.push_root(describe(b"absent", media_types.OCI_MANIFEST), "1.0")


def test_a_tag_that_is_already_right_is_not_sent(registry, repository):
    repository.push_root(ROOT, "1.0")

    assert paths(registry, "PUT") == []


@pytest.mark.parametrize(
    ("fault", "puts"),
    [
        (Harm.RESET_BEFORE, 2),
        (Answer(503), 2),
        (Harm.RESET_AFTER, 1),
        (Lie({"Docker-Content-Digest": str(digest_of(b"x"))}), 1),
    ],
    ids=str,
)
def test_a_tag_is_read_again_after_a_lost_or_wrong_response(registry, repository, fault, puts):
    registry.fail(fault, where=request_to("PUT"))

    repository.push_root(OTHER_ROOT, "1.0")

    assert registry.repository("app").tags["1.0"] == str(OTHER_ROOT.digest)
    assert len(paths(registry, "PUT")) == puts


def test_setting_a_tag_obeys_retry_after(registry):
    time = FakeTime()
    registry.fail(Answer(503, retry_after_seconds=7), where=request_to("PUT"))

    repository_at(registry.host, time=time).push_root(OTHER_ROOT, "1.0")

    assert time.slept == [7]


def test_setting_a_tag_has_a_shorter_deadline(registry):
    time = FakeTime()
    registry.fail(Answer(503, retry_after_seconds=int(TAG_SECONDS) + 1), where=request_to("PUT"))

    with pytest.raises(RegistryUnavailable, match="asks for a pause of 46 s"):
        repository_at(registry.host, time=time).push_root(OTHER_ROOT, "1.0")

    assert time.slept == []


def test_a_tag_that_cannot_be_set_is_an_error(registry, repository):
    registry.fail(Answer(503), where=request_to("PUT"), times=None)

    with pytest.raises(RegistryUnavailable, match="after 5 attempts"):
        repository.push_root(OTHER_ROOT, "1.0")


def test_an_immutable_tag_is_named(registry):
    with Registry(Behaviour(immutable_tags=True, rates={})) as immutable:
        for kind in ("blobs", "manifests", "tags"):
            getattr(immutable.repository("app"), kind).update(getattr(registry.repository("app"), kind))
        repository = repository_at(immutable.host)

        repository.push_root(ROOT, "1.0")
        repository.push_root(ROOT, "new")
        with pytest.raises(TagImmutable, match=r"tag 1\.0 may not move: TAG_INVALID: .* immutable") as caught:
            repository.push_root(OTHER_ROOT, "1.0")

    assert caught.value.status == 400


def test_a_tag_that_is_refused_for_another_reason_is_not_called_immutable(registry, repository):
    registry.fail(Answer(403), where=request_to("PUT"))

    with pytest.raises(RegistryError, match="status 403") as caught:
        repository.push_root(OTHER_ROOT, "1.0")

    assert not isinstance(caught.value, TagImmutable)


def test_a_tag_can_be_deleted(repository):
    assert repository.delete_tag("1.0")
    assert not repository.delete_tag("1.0")
    assert repository.fetch_descriptor(ROOT.digest) == ROOT


def test_a_registry_that_does_not_delete_says_so():
    with Registry(Behaviour(deletes=False, rates={})) as registry:
        registry.repository("app").put_manifest(IMAGE.document, tag="1.0")

        with pytest.raises(TagNotDeletable, match=r"status 405, UNSUPPORTED.*its operator can enable that"):
            repository_at(registry.host).delete_tag("1.0")


@pytest.mark.parametrize(
    ("status", "of_tag", "of_manifest"),
    [
        (400, TagNotDeletable, DeletionRefused),
        (401, Unauthorized, Unauthorized),
        (403, DeletionRefused, DeletionRefused),
        (405, TagNotDeletable, DeletionRefused),
        (409, DeletionRefused, DeletionRefused),
        (410, RegistryError, RegistryError),
        (503, RegistryUnavailable, RegistryUnavailable),
    ],
)
def test_a_refused_deletion_has_the_same_error_for_each_status_that_registries_choose(
    registry, repository, status, of_tag, of_manifest
):
    registry.fail(Answer(status), where=request_to("DELETE"), times=None)

    for delete, kind in (
        (lambda: repository.delete_tag("1.0"), of_tag),
        (lambda: repository.delete_manifest(ROOT.digest), of_manifest),
    ):
        with pytest.raises(kind, match=f"status {status}") as caught:
            delete()
        assert (type(caught.value), caught.value.status) == (kind, status)
    assert repository.fetch_root() == ROOT


def test_a_blob_is_mounted_from_a_repository_of_the_same_registry_only(registry, repository):
    with Registry(Behaviour(rates={})) as elsewhere:
        assert not repository_at(elsewhere.host).mount_blob(LAYER, repository)
        assert not elsewhere.requests

    other = repository_at(registry.host, "other")
    assert other.mount_blob(LAYER, repository)
    assert other.has_blob(LAYER)


def test_mounting_needs_permission_to_read_the_other_repository():
    with Registry(Behaviour(rates={}), login=BearerLogin("me", "secret")) as registry:
        registry.repository("app").put_blob(b"layer one")
        connected = connect(registry.host, logins=KnownUser())
        other = connected.open_repository("other")

        assert other.mount_blob(describe(b"layer one", "x"), connected.open_repository("app"))


def test_copying_within_a_registry_mounts_every_blob(registry, repository):
    other = repository_at(registry.host, "other")

    copy_trees(repository, other, (ROOT,))

    assert all(other.has_blob(blob) for blob in (LAYER, ImageManifest.parse(IMAGE.document).config))
    assert not [
        one.path for one in registry.requests if one.method in ("PUT", "PATCH") and "/blobs/" in one.path
    ]


class KnownUser:
    """The login of a user that the registry knows."""

    def fetch_login(self, _host, *, renew):  # noqa: ARG002 - required by the port
        return Login(username="me", password="secret")
