"""The in-memory registry as a client sees it: the distribution specification, and where ECR differs."""

from __future__ import annotations

import json
from dataclasses import replace
from http.client import HTTPConnection
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from local.registry import MIB, OBJECTS, REGISTRY, Behaviour, Registry
from local.registry.store import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, digest_of
from tests.builders import image_of, layout_of, multi_platform, noise, tar_of
from tests.http_calls import Answer, call
from tests.image_files import skopeo

PLAIN = Behaviour.plain()
SMALL_PARTS = Behaviour(min_part_bytes=10, max_part_bytes=20)
SOCI = "application/vnd.amazon.soci.index.v1+json"
CONFIG, LAYER = b"{}", b"layer" * 1000


def document(**fields) -> bytes:
    return json.dumps({"schemaVersion": 2, **fields}).encode()


def described(data: bytes, media_type: str = "application/octet-stream", **fields) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data), **fields}


def manifest_of(
    config: bytes = CONFIG, *layers: bytes, config_type: str = "application/json", **fields
) -> bytes:
    return document(
        config=described(config, config_type), layers=[described(layer) for layer in layers], **fields
    )


IMAGE = manifest_of(CONFIG, LAYER)
INDEX = document(manifests=[described(IMAGE, OCI_MANIFEST)])


@pytest.fixture
def run():
    """Start registries that end with the test."""
    running = []

    def start(behaviour: Behaviour = PLAIN, **options) -> Registry:
        running.append(Registry(behaviour, **options))
        return running[-1]

    yield start
    for registry in running:
        registry.close()


def stocked(registry: Registry, *manifests: bytes) -> Registry:
    app = registry.repository("app")
    for blob in (CONFIG, LAYER):
        app.put_blob(blob)
    for manifest in manifests:
        app.put_manifest(manifest)
    return registry


def put(registry: Registry, reference: str, data: bytes, media_type: str = OCI_MANIFEST) -> Answer:
    return call(registry.host, "PUT", f"/v2/app/manifests/{reference}", data, {"Content-Type": media_type})


def get(registry: Registry, path: str, method: str = "GET", **headers: str) -> Answer:
    return call(registry.host, method, path, headers=headers)


def begin(registry: Registry, query: str = "") -> str:
    answer = call(registry.host, "POST", f"/v2/app/blobs/uploads/{query}", b"")
    assert answer.status == 202
    return answer.headers["Location"]


def patch(registry: Registry, location: str, data: bytes, first: int | None = None) -> Answer:
    headers = {} if first is None else {"Content-Range": f"{first}-{first + len(data) - 1}"}
    return call(registry.host, "PATCH", location, data, headers)


def finish(
    registry: Registry, location: str, data: bytes, rest: bytes = b"", content_range: str = ""
) -> Answer:
    headers = {"Content-Range": content_range} if content_range else {}
    return call(registry.host, "PUT", f"{location}&digest={digest_of(data)}", rest, headers)


# --- manifests ----------------------------------------------------------------------------------------------


def test_a_registry_answers_the_version_check(run):
    answer = get(run(), "/v2/")

    assert answer.status == 200
    assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("reference", ["1.0", digest_of(IMAGE)], ids=["tag", "digest"])
def test_a_manifest_is_found_by_tag_and_by_digest(run, method, reference):
    registry = stocked(run())
    put(registry, "1.0", IMAGE)

    answer = get(registry, f"/v2/app/manifests/{reference}", method)

    assert answer.status == 200
    assert answer.headers["Docker-Content-Digest"] == digest_of(IMAGE)
    assert answer.headers["Content-Type"] == OCI_MANIFEST
    assert answer.headers["Content-Length"] == str(len(IMAGE))
    assert answer.body == (IMAGE if method == "GET" else b"")


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        (None, 200),
        ("*/*", 200),
        (f"{DOCKER_LIST}, {OCI_INDEX};q=0.9", 200),
        (f"{OCI_MANIFEST},{DOCKER_MANIFEST}", 404),
    ],
    ids=["none", "any", "among others", "other types"],
)
def test_a_manifest_is_sent_only_if_its_type_is_accepted(run, accept, status):
    registry = stocked(run(), IMAGE)
    put(registry, "1.0", INDEX, OCI_INDEX)

    headers = {} if accept is None else {"Accept": accept}
    assert get(registry, "/v2/app/manifests/1.0", **headers).status == status


@pytest.mark.parametrize("path", ["manifests/1.0", "blobs/" + digest_of(b"?")])
def test_a_missing_resource_is_an_error(run, path):
    registry = run()

    assert get(registry, f"/v2/app/{path}").code == "NAME_UNKNOWN"
    registry.repository("app")
    answer = get(registry, f"/v2/app/{path}")
    assert (answer.status, answer.code) in [(404, "MANIFEST_UNKNOWN"), (404, "BLOB_UNKNOWN")]


def test_a_tag_moves_and_its_old_manifest_stays(run):
    registry = stocked(run(), IMAGE)
    put(registry, "latest", IMAGE)

    assert put(registry, "latest", INDEX, OCI_INDEX).status == 201

    assert registry.repository("app").tags == {"latest": digest_of(INDEX)}
    assert get(registry, f"/v2/app/manifests/{digest_of(IMAGE)}").body == IMAGE


MISSING_BLOB = manifest_of(CONFIG, b"not pushed")
WRONG_SIZE = IMAGE.replace(b'"size": 5000', b'"size": 4999')
MISSING_CHILD = document(manifests=[described(b"{}", OCI_MANIFEST)])


@pytest.mark.parametrize(
    ("manifest", "refusal"),
    [
        (("1", MISSING_BLOB, OCI_MANIFEST), (400, "MANIFEST_BLOB_UNKNOWN")),
        (("1", MISSING_CHILD, OCI_INDEX), (400, "MANIFEST_BLOB_UNKNOWN")),
        (("1", WRONG_SIZE, OCI_MANIFEST), (400, "MANIFEST_INVALID")),
        (("1", IMAGE[:-1], OCI_MANIFEST), (400, "MANIFEST_INVALID")),
        (("1", b'{"schemaVersion": 1}', OCI_MANIFEST), (400, "MANIFEST_INVALID")),
        (("1", document(config={}), OCI_MANIFEST), (400, "MANIFEST_INVALID")),
        (("1", document(config={}, layers=[]), OCI_MANIFEST), (400, "MANIFEST_INVALID")),
        (("1", IMAGE, "application/json"), (400, "MANIFEST_INVALID")),
        (("1", manifest_of(mediaType=OCI_INDEX), OCI_MANIFEST), (400, "MANIFEST_INVALID")),
        ((digest_of(b"other"), IMAGE, OCI_MANIFEST), (400, "DIGEST_INVALID")),
        (("x" * 129, IMAGE, OCI_MANIFEST), (400, "TAG_INVALID")),
        (("1", manifest_of(annotations={"a": "b" * 4 * MIB}), OCI_MANIFEST), (413, "MANIFEST_INVALID")),
    ],
    ids=[
        "blob missing",
        "child missing",
        "size of a blob",
        "no JSON",
        "schema 1",
        "no layers",
        "no digest",
        "no manifest's type",
        "types that differ",
        "other digest",
        "tag too long",
        "over 4 MiB",
    ],
)
def test_an_invalid_manifest_is_refused_and_not_stored(run, manifest, refusal):
    registry = stocked(run())

    answer = put(registry, *manifest)

    assert (answer.status, answer.code) == refusal
    assert registry.repository("app").manifests == {}
    assert registry.repository("app").tags == {}


def test_foreign_layers_may_be_missing(run):
    foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar"
    image = document(config=described(CONFIG), layers=[described(b"elsewhere", foreign)])

    assert put(stocked(run()), "1", image).status == 201


def test_a_push_creates_the_repository_or_requires_it(run):
    makes, needs = run(), run(replace(PLAIN, creates_repositories=False))

    assert begin(makes)
    answer = call(needs.host, "POST", "/v2/app/blobs/uploads/", b"")
    assert (answer.status, answer.code) == (404, "NAME_UNKNOWN")


def test_an_immutable_tag_does_not_move_unless_it_is_excluded(run):
    rules = replace(PLAIN, immutable_tags=True, mutable_tag_patterns=("*-soci",))
    registry = stocked(run(rules), IMAGE)
    for tag in ("1", "1-soci"):
        assert put(registry, tag, IMAGE).status == 201

    refused = put(registry, "1", INDEX, OCI_INDEX)

    assert (refused.status, refused.code) == (400, "TAG_INVALID")
    assert "cannot be overwritten because the tag is immutable" in refused.document["errors"][0]["message"]
    assert put(registry, "1", IMAGE).status == 201
    assert put(registry, "1-soci", INDEX, OCI_INDEX).status == 201
    assert registry.repository("app").tags == {"1": digest_of(IMAGE), "1-soci": digest_of(INDEX)}


def test_deleting_a_tag_keeps_its_manifest_and_deleting_a_manifest_deletes_its_tags(run):
    registry = stocked(run(), IMAGE)
    for tag in ("a", "b", "c"):
        put(registry, tag, IMAGE)

    assert get(registry, "/v2/app/manifests/a", "DELETE").status == 202
    assert set(registry.repository("app").tags) == {"b", "c"}
    assert get(registry, f"/v2/app/manifests/{digest_of(IMAGE)}", "DELETE").status == 202
    assert registry.repository("app").tags == {}
    assert registry.repository("app").manifests == {}
    assert get(registry, "/v2/app/manifests/b", "DELETE").code == "MANIFEST_UNKNOWN"


def test_a_manifest_that_an_index_lists_is_not_deleted(run):
    registry = stocked(run(), IMAGE)
    put(registry, "1", INDEX, OCI_INDEX)

    assert get(registry, f"/v2/app/manifests/{digest_of(IMAGE)}", "DELETE").code == "DENIED"
    get(registry, f"/v2/app/manifests/{digest_of(INDEX)}", "DELETE")
    assert get(registry, f"/v2/app/manifests/{digest_of(IMAGE)}", "DELETE").status == 202


def test_deletion_can_be_unsupported(run):
    registry = stocked(run(replace(PLAIN, deletes=False)), IMAGE)

    assert get(registry, f"/v2/app/manifests/{digest_of(IMAGE)}", "DELETE").status == 405


def test_each_pushed_manifest_sends_an_event(run):
    events: list[dict[str, Any]] = []
    registry = stocked(run(on_event=events.append), IMAGE)

    put(registry, "1.0", IMAGE)
    put(registry, digest_of(INDEX), INDEX, OCI_INDEX)
    put(registry, "bad", b"")

    assert {(event["source"], event["detail-type"]) for event in events} == {("aws.ecr", "ECR Image Action")}
    tagged, untagged = (event["detail"] for event in events)
    assert tagged == {
        "result": "SUCCESS",
        "action-type": "PUSH",
        "repository-name": "app",
        "image-digest": digest_of(IMAGE),
        "image-tag": "1.0",
        "manifest-media-type": OCI_MANIFEST,
        "artifact-media-type": "application/json",
    }
    assert (untagged["image-tag"], untagged["manifest-media-type"]) == ("", OCI_INDEX)
    assert "artifact-media-type" not in untagged


# --- referrers and lists ------------------------------------------------------------------------------------


def referring(kind: str, number: int = 0) -> bytes:
    subject = described(IMAGE, OCI_MANIFEST)
    return manifest_of(config_type=kind, subject=subject, annotations={"number": str(number)})


def test_a_subject_is_acknowledged_and_its_referrers_are_listed(run):
    registry = stocked(run())
    soci, other = referring(SOCI), referring("application/x")

    answers = [put(registry, digest_of(data), data) for data in (soci, other)]

    assert [answer.headers["OCI-Subject"] for answer in answers] == [digest_of(IMAGE)] * 2
    everything = get(registry, f"/v2/app/referrers/{digest_of(IMAGE)}")
    assert everything.headers["Content-Type"] == OCI_INDEX
    assert {entry["digest"] for entry in everything.document["manifests"]} == {
        digest_of(soci),
        digest_of(other),
    }
    filtered = get(registry, f"/v2/app/referrers/{digest_of(IMAGE)}?artifactType={quote(SOCI)}")
    assert filtered.headers["OCI-Filters-Applied"] == "artifactType"
    assert filtered.document["manifests"] == [
        described(soci, OCI_MANIFEST, artifactType=SOCI, annotations={"number": "0"})
    ]


def test_nothing_refers_to_an_unknown_manifest(run):
    answer = get(stocked(run()), f"/v2/app/referrers/{digest_of(b'?')}")

    assert (answer.status, answer.document["manifests"]) == (200, [])


def test_a_registry_without_the_referrers_api_does_not_acknowledge(run):
    registry = stocked(run(replace(PLAIN, referrers_api=False)))

    answer = put(registry, digest_of(referring(SOCI)), referring(SOCI))

    assert (answer.status, answer.headers["OCI-Subject"]) == (201, None)
    assert get(registry, f"/v2/app/referrers/{digest_of(IMAGE)}").status == 404


def pages(registry: Registry, path: str) -> list[Answer]:
    answers = []
    while path:
        answers.append(get(registry, path))
        link = answers[-1].headers["Link"]
        path = link.partition(">")[0].strip("<") if link else ""
    return answers


def test_links_lead_through_the_pages_of_a_list(run):
    registry = stocked(run(replace(PLAIN, max_page_entries=2)), *(referring(SOCI, n) for n in range(5)))
    registry.repository("app").tags |= {f"t{n}": digest_of(IMAGE) for n in range(5)}
    for name in "bcde":
        registry.repository(name)

    tags = pages(registry, "/v2/app/tags/list?n=50")
    names = pages(registry, "/v2/_catalog")
    referrers = pages(registry, f"/v2/app/referrers/{digest_of(IMAGE)}?artifactType={quote(SOCI)}")

    assert [answer.document["tags"] for answer in tags] == [["t0", "t1"], ["t2", "t3"], ["t4"]]
    assert [answer.document["repositories"] for answer in names] == [["app", "b"], ["c", "d"], ["e"]]
    assert [len(answer.document["manifests"]) for answer in referrers] == [2, 2, 1]
    assert [answer.headers["OCI-Filters-Applied"] for answer in referrers] == ["artifactType"] * 3


def test_the_cursor_of_a_page_is_opaque(run):
    registry = stocked(run())
    registry.repository("app").tags |= {"a": digest_of(IMAGE), "b": digest_of(IMAGE)}

    assert get(registry, "/v2/app/tags/list?n=1").document["tags"] == ["a"]
    assert get(registry, "/v2/app/tags/list?n=1&last=a").status == 400
    assert get(registry, "/v2/app/tags/list?n=x").code == "PAGINATION_NUMBER_INVALID"


def test_a_page_of_ecr_has_a_hundred_tags_by_default(run):
    registry = run(Behaviour())
    registry.repository("app").tags |= {f"{n:03}": digest_of(IMAGE) for n in range(150)}

    assert len(get(registry, "/v2/app/tags/list").document["tags"]) == 100
    assert len(get(registry, "/v2/app/tags/list?n=1000").document["tags"]) == 150


# --- blobs --------------------------------------------------------------------------------------------------


def test_a_blob_is_found_and_downloaded(run):
    registry = stocked(run())
    path = f"/v2/app/blobs/{digest_of(LAYER)}"

    head, whole = get(registry, path, "HEAD"), get(registry, path)

    assert (head.status, head.headers["Content-Length"], head.body) == (200, "5000", b"")
    assert (whole.status, whole.body) == (200, LAYER)
    assert whole.headers["Docker-Content-Digest"] == digest_of(LAYER)


@pytest.mark.parametrize("behaviour", [PLAIN, Behaviour()], ids=["registry", "second origin"])
@pytest.mark.parametrize(
    ("asked", "status_and_range", "part"),
    [
        ("bytes=0-9", (206, "bytes 0-9/5000"), LAYER[:10]),
        ("bytes=4990-9999", (206, "bytes 4990-4999/5000"), LAYER[4990:]),
        ("bytes=4990-", (206, "bytes 4990-4999/5000"), LAYER[4990:]),
        ("bytes=-10", (206, "bytes 4990-4999/5000"), LAYER[-10:]),
        ("bytes=5000-", (416, "bytes */5000"), b""),
        ("bytes=0-1,3-4", (200, None), LAYER),
        ("lines=1-2", (200, None), LAYER),
    ],
)
def test_a_range_is_cut_out(run, behaviour, asked, status_and_range, part):
    registry = stocked(run(behaviour))
    path = get(registry, f"/v2/app/blobs/{digest_of(LAYER)}").headers.get("Location")

    answer = get(registry, path or f"/v2/app/blobs/{digest_of(LAYER)}", Range=asked)

    assert (answer.status, answer.headers["Content-Range"]) == status_and_range
    assert answer.body == part


def test_a_registry_without_ranges_sends_whole_blobs(run):
    registry = stocked(run(replace(PLAIN, ranges=False)))

    answer = get(registry, f"/v2/app/blobs/{digest_of(LAYER)}", Range="bytes=0-9")

    assert (answer.status, answer.headers["Accept-Ranges"], answer.body) == (200, None, LAYER)


@pytest.fixture
def redirected(run):
    """A registry that redirects, and the signed URL of its layer."""
    registry = stocked(run(Behaviour(url_lifetime_seconds=60)))
    answer = get(registry, f"/v2/app/blobs/{digest_of(LAYER)}")
    assert (answer.status, answer.body) == (307, b"")
    return registry, answer.headers["Location"]


def test_ecr_redirects_blobs_to_another_origin(redirected):
    registry, url = redirected

    assert urlsplit(url).netloc == registry.objects_host != registry.host
    assert get(registry, url).body == LAYER
    assert get(registry, f"/v2/app/blobs/{digest_of(LAYER)}", "HEAD").status == 200


def test_a_signed_url_refuses_a_credential_beside_it(redirected):
    registry, url = redirected

    answer = get(registry, url, Authorization="Basic eDp5")

    assert answer.status == 400
    assert b"<Code>InvalidArgument</Code>" in answer.body


def test_a_signed_url_expires_and_a_new_one_is_issued(redirected):
    registry, url = redirected

    registry.let_time_pass(60)

    expired = get(registry, url)
    assert (expired.status, b"Request has expired" in expired.body) == (403, True)
    again = get(registry, f"/v2/app/blobs/{digest_of(LAYER)}").headers["Location"]
    assert get(registry, again).body == LAYER


def test_a_signed_url_allows_only_its_own_request(redirected):
    registry, url = redirected

    assert get(registry, url, "HEAD").status == 403
    assert get(registry, url.replace("layers/app", "layers/other")).status == 403
    assert get(registry, url.replace("Expires=60", "Expires=6000")).status == 403
    assert get(registry, url.partition("?")[0]).status == 403


# --- uploads ------------------------------------------------------------------------------------------------


def is_there(registry: Registry, data: bytes, answer: Answer) -> bool:
    assert answer.status == 201
    assert answer.headers["Docker-Content-Digest"] == digest_of(data)
    assert answer.headers["Location"].endswith(f"/v2/app/blobs/{digest_of(data)}")
    return registry.repository("app").blobs[digest_of(data)] == data


@pytest.mark.parametrize("behaviour", [PLAIN, Behaviour()], ids=["plain", "ecr"])
@pytest.mark.parametrize("data", [LAYER, b""], ids=["some", "empty"])
def test_a_blob_is_uploaded_at_once(run, behaviour, data):
    registry = run(behaviour)

    assert is_there(registry, data, finish(registry, begin(registry), data, data))
    assert registry.repository("app").uploads == {}


def test_a_blob_is_uploaded_in_a_single_post(run):
    registry = run()

    answer = call(registry.host, "POST", f"/v2/app/blobs/uploads/?digest={digest_of(LAYER)}", LAYER)

    assert is_there(registry, LAYER, answer)


def test_a_blob_is_uploaded_as_a_stream_of_unknown_length(run):
    registry = run(Behaviour())
    location = begin(registry)
    connection = HTTPConnection(registry.host)
    target = location.partition(registry.host)[2]
    connection.request("PATCH", target, iter([LAYER[:7], LAYER[7:]]), encode_chunked=True)
    streamed = connection.getresponse()
    connection.close()

    assert streamed.status == 201
    assert is_there(registry, LAYER, finish(registry, streamed.headers["Location"], LAYER))


def test_a_blob_is_uploaded_in_chunks(run):
    registry = run()

    first = patch(registry, begin(registry), LAYER[:100], 0)
    second = patch(registry, first.headers["Location"], LAYER[100:300], 100)
    status = get(registry, second.headers["Location"])
    last = finish(registry, second.headers["Location"], LAYER, LAYER[300:], "300-4999")

    assert [first.status, second.status, status.status] == [202, 202, 204]
    assert [answer.headers["Range"] for answer in (first, second, status)] == ["0-99", "0-299", "0-299"]
    assert is_there(registry, LAYER, last)


def test_ecr_answers_chunks_with_201_and_the_first_range(run):
    registry = run(SMALL_PARTS)
    data = noise(50)

    first = patch(registry, begin(registry), data[:20], 0)
    second = patch(registry, first.headers["Location"], data[20:40], 20)

    status = get(registry, second.headers["Location"])
    assert [first.status, second.status, status.status] == [201, 201, 204]
    assert [answer.headers["Range"] for answer in (first, second, status)] == ["0-19"] * 3
    assert is_there(registry, data, finish(registry, second.headers["Location"], data, data[40:]))


def test_a_chunk_out_of_order_is_refused_with_the_position_to_resume_at(run):
    registry = run()
    location = patch(registry, begin(registry), LAYER[:100], 0).headers["Location"]

    for first in (0, 200):
        refused = patch(registry, location, LAYER[first : first + 100], first)
        assert (refused.status, refused.code) == (416, "BLOB_UPLOAD_INVALID")
        assert refused.headers["Range"] == "0-99"

    on = patch(registry, refused.headers["Location"], LAYER[100:], 100)
    assert is_there(registry, LAYER, finish(registry, on.headers["Location"], LAYER))


@pytest.mark.parametrize(
    ("sizes", "refused_at"),
    [([10, 20, 5], None), ([20, 9], None), ([9, 10], 1), ([10, 9, 10], 2), ([21], 0)],
    ids=["all right", "small last", "small first", "small middle", "large"],
)
def test_parts_have_a_minimum_and_a_maximum_size(run, sizes, refused_at):
    registry = run(SMALL_PARTS)
    location, at, statuses = begin(registry), 0, []

    for size in sizes:
        statuses.append(patch(registry, location, LAYER[at : at + size], at).status)
        at += size

    assert next((n for n, status in enumerate(statuses) if status != 201), None) == refused_at
    if refused_at is None:
        assert finish(registry, location, LAYER[:at]).status == 201


def test_a_small_part_before_the_final_request_is_refused(run):
    registry = run(SMALL_PARTS)
    location = begin(registry)

    patch(registry, location, LAYER[:9], 0)

    assert finish(registry, location, LAYER[:15], LAYER[9:15]).code == "BLOB_UPLOAD_INVALID"
    assert registry.repository("app").blobs == {}


@pytest.mark.parametrize(
    ("content_range", "code"), [("0-5", "SIZE_INVALID"), ("bytes 0-9/10", "BLOB_UPLOAD_INVALID")]
)
def test_a_content_range_that_does_not_fit_the_body_is_refused(run, content_range, code):
    registry = run()

    answer = call(registry.host, "PATCH", begin(registry), b"x" * 10, {"Content-Range": content_range})

    assert (answer.status, answer.code) == (400, code)


def test_a_blob_with_a_wrong_digest_is_refused_and_its_upload_is_dropped(run):
    registry = run()
    location = begin(registry)

    wrong = finish(registry, location, LAYER, LAYER[:-1])

    assert (wrong.status, wrong.code) == (400, "DIGEST_INVALID")
    assert registry.repository("app").blobs == {}
    assert finish(registry, location, LAYER, LAYER).code == "BLOB_UPLOAD_UNKNOWN"


def test_a_blob_may_have_a_sha512_digest(run):
    registry = run()
    digest = digest_of(LAYER, "sha512")

    answer = call(registry.host, "PUT", f"{begin(registry)}&digest={digest}", LAYER)

    assert (answer.status, registry.repository("app").blobs) == (201, {digest: LAYER})


def test_an_upload_continues_only_at_its_location(run):
    registry = run()
    made_up = begin(registry).partition("?")[0]

    answer = call(registry.host, "PUT", f"{made_up}?digest={digest_of(LAYER)}", LAYER)

    assert (answer.status, answer.code) == (400, "BLOB_UPLOAD_INVALID")


def test_an_upload_can_be_cancelled(run):
    registry = run()
    location = begin(registry)

    assert get(registry, location, "DELETE").status == 204
    assert get(registry, location).code == "BLOB_UPLOAD_UNKNOWN"


def test_a_blob_is_mounted_from_another_repository_or_an_upload_starts(run):
    mounts, does_not = run(), run(replace(PLAIN, mounts=False))
    query = f"?mount={digest_of(LAYER)}&from=base"
    for registry in (mounts, does_not):
        registry.repository("base").put_blob(LAYER)

    mounted = call(mounts.host, "POST", f"/v2/app/blobs/uploads/{query}", b"")

    assert is_there(mounts, LAYER, mounted)
    assert begin(does_not, query)
    assert begin(mounts, f"?mount={digest_of(b'?')}&from=base")
    assert begin(mounts, f"?mount={digest_of(LAYER)}&from=nowhere")


# --- limits, paths, the record ------------------------------------------------------------------------------


@pytest.mark.parametrize("retry_after", [None, 3])
def test_the_eleventh_manifest_within_a_second_is_too_many(run, retry_after):
    registry = stocked(run(Behaviour(retry_after_seconds=retry_after)))

    answers = [put(registry, str(n), IMAGE) for n in range(11)]

    assert [answer.status for answer in answers] == [201] * 10 + [429]
    assert answers[-1].code == "TOOMANYREQUESTS"
    assert answers[-1].headers["Retry-After"] == (str(retry_after) if retry_after else None)
    registry.let_time_pass(1)
    assert put(registry, "10", IMAGE).status == 201


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("PATCH", "/v2/app/manifests/1", 405), ("GET", "/v1/", 404), ("GET", "/v2/APP/manifests/1", 404)],
)
def test_other_methods_and_paths_are_not_served(run, method, path, status):
    assert get(run(), path, method).status == status


def test_every_request_of_both_origins_is_recorded_without_its_secrets(redirected):
    registry, url = redirected
    registry.forget_requests()

    get(registry, f"/v2/app/blobs/{digest_of(LAYER)}", Authorization="Basic c2VjcmV0OnM=")
    get(registry, url, Range="bytes=0-99")
    begin(registry)
    call(registry.host, "PUT", "/v2/app/manifests/1", IMAGE, {"Content-Type": OCI_MANIFEST})

    fetched, at_objects, begun, put_ = registry.requests
    assert [exchange.number for exchange in registry.requests] == [1, 2, 3, 4]
    assert (fetched.origin, fetched.method, fetched.has_authorization) == (REGISTRY, "GET", True)
    assert (at_objects.origin, at_objects.range, at_objects.status) == (OBJECTS, "bytes=0-99", 206)
    assert (at_objects.sent_bytes, at_objects.has_authorization) == (100, False)
    assert (begun.method, begun.status) == ("POST", 202)
    assert (put_.path, put_.received_bytes) == ("/v2/app/manifests/1", len(IMAGE))
    assert "content-type" in put_.header_names
    assert "c2VjcmV0" not in repr(registry.requests)
    assert "Signature" not in repr(registry.requests)


def test_one_connection_serves_many_requests(run):
    registry = stocked(run())
    connection = HTTPConnection(registry.host)
    sockets = set()

    for _ in range(3):
        connection.request("GET", f"/v2/app/blobs/{digest_of(LAYER)}")
        assert connection.getresponse().read() == LAYER
        sockets.add(connection.sock)
    connection.close()

    assert len(sockets) == 1


# --- an independent client ----------------------------------------------------------------------------------


@pytest.mark.parametrize("behaviour", [Behaviour(), PLAIN], ids=["ecr", "plain"])
@pytest.mark.parametrize("kind", ["image", "index"])
def test_skopeo_pushes_and_pulls(run, tmp_path, behaviour, kind):
    registry = run(behaviour)
    images = [
        image_of(tar_of(), noise(6 * MIB), noise(10_000, of), platform=f"linux/{of}")
        for of in ("amd64", "arm64")
    ]
    image = images[0] if kind == "image" else multi_platform(*images)
    layout = layout_of(tmp_path / "ours", image, tag="1")

    place = f"docker://{registry.host}/team/app:1"
    skopeo("copy", "--all", "--preserve-digests", "--dest-tls-verify=false", f"oci:{layout}:1", place)
    skopeo(
        "copy", "--all", "--preserve-digests", "--src-tls-verify=false", place, f"dir:{tmp_path / 'theirs'}"
    )

    assert registry.repository("team/app").tags == {"1": str(image.root.digest)}
    assert (tmp_path / "theirs/manifest.json").read_bytes() == image.document
    fetched = {path.name: path.read_bytes() for path in (tmp_path / "theirs").iterdir()}
    assert {blob for blob in image.blobs.values() if blob != image.document} <= set(fetched.values())
    at_objects = [exchange for exchange in registry.requests if exchange.origin == OBJECTS]
    assert bool(at_objects) == behaviour.redirects_blobs
