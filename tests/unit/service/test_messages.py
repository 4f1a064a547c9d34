from __future__ import annotations

import json

import pytest

from soci.build.layer import RecompressedLayer, Reused
from soci.build.tagging import TagLeftAlone
from soci.errors import InvalidDocument
from soci.oci.compression import Compression
from soci.oci.digest import Digest, digest_of
from soci.reasons import LeftOut, Reason
from soci.service.layer_messages import (
    LayerItem,
    LayerJob,
    LayerOutcome,
)
from soci.service.messages import (
    Action,
    Decision,
    ImageRequest,
    Origin,
    PlatformPlan,
    Published,
    PublishedImage,
    PublishedPlatform,
    PublishJob,
    ReadBack,
    Work,
)
from soci.service.outcomes import DETAIL_BYTES, ImageReason, Outcome, bounded

STATE_LIMIT_BYTES = 256 * 1024
"""Of Step Functions."""


def digest(name: object) -> Digest:
    return digest_of(str(name).encode())


REQUEST = ImageRequest(
    repository="team/app",
    tag="1.4",
    digest=digest("root"),
    force=True,
    origin=Origin.REPLICATION,
    pushed_at="2026-03-14T09:26:53Z",
    correlation_id="4a8b9e1c-0d6f-4f62-8f0a-2f3f0c9b7d11",
)
LAYERS = (
    LayerItem(digest=digest("a"), size=200, compression=Compression.GZIP),
    LayerItem(digest=digest("b"), size=100, compression=Compression.ZSTD),
)
PLATFORMS = (
    PlatformPlan(
        platform="linux/amd64", digest=digest("amd"), layers=(1, 0, 1), left_out={Reason.FOREIGN: 2}
    ),
    PlatformPlan(platform="linux/s390x", digest=digest("s390x"), reason=ImageReason.ARCHITECTURE_EXCLUDED),
)
DECISION = Decision(action=Action.INDEX, request=REQUEST, layers=LAYERS, platforms=PLATFORMS)
SKIPPED = Decision(
    action=Action.SKIP, request=ImageRequest(repository="app"), reason=ImageReason.UNTAGGED, detail="why"
)
COPY = RecompressedLayer(of=digest("a"), digest=digest("copy"), size=321)
OUTCOMES = (
    LayerOutcome(
        layer=digest("a"), ztoc=digest("ztoc"), size=77, seconds=1.5, recompressed=COPY, reused=Reused.HERE
    ),
    LayerOutcome(layer=digest("b"), left_out=LeftOut(reason=Reason.MULTI_MEMBER_GZIP, detail="2 members")),
)


def through_json(document: object):
    return json.loads(json.dumps(document))


@pytest.mark.parametrize("decision", [DECISION, SKIPPED], ids=["index", "skip"])
def test_a_decision_is_read_as_it_was_written(decision):
    assert Decision.from_document(through_json(decision.to_document())) == decision


def test_a_decision_has_the_fields_that_the_states_use():
    document = DECISION.to_document()

    assert list(document) == [
        *("action", "outcome", "reason", "detail"),
        *("repository", "tag", "digest", "force", "origin", "pushed_at", "correlation_id"),
        *("layers", "platforms"),
    ]
    assert document["layers"] == [
        {"digest": str(digest("a")), "size": 200, "compression": "gzip"},
        {"digest": str(digest("b")), "size": 100, "compression": "zstd"},
    ]
    assert through_json(document)["platforms"][0] == {
        "platform": "linux/amd64",
        "digest": str(digest("amd")),
        "layers": [1, 0, 1],
        "left_out": {"foreign": 2},
        "reason": None,
    }


def test_only_the_decision_to_skip_has_an_outcome():
    assert SKIPPED.to_document()["outcome"] == "skipped"
    assert SKIPPED.to_document()["reason"] == "untagged"
    assert DECISION.to_document()["outcome"] is None


def test_a_layer_job_is_read_from_an_item_of_the_map_over_layers():
    document = {
        "image": {"repository": "team/app", "digest": str(digest("root"))},
        "layer": LAYERS[0].to_document(),
        "force": True,
    }

    job = LayerJob.from_document(document)

    assert job == LayerJob(repository="team/app", image=digest("root"), layer=LAYERS[0], force=True)
    assert job.to_document() == document


def test_a_layer_job_without_force_is_not_forced():
    image = {"repository": "team/app", "digest": str(digest("root"))}

    assert not LayerJob.from_document({"image": image, "layer": LAYERS[0].to_document()}).force


def test_a_publish_job_is_a_decision_with_outcomes_in_place_of_its_layers():
    state = DECISION.to_document() | {"layers": [outcome.to_document() for outcome in OUTCOMES]}

    job = PublishJob.from_document(through_json(state))

    assert job.outcomes == OUTCOMES
    assert job.decision.platforms == PLATFORMS
    assert job.decision.request == REQUEST
    assert PublishJob.from_document(job.to_document()) == job


def test_members_that_a_layer_does_not_need_are_omitted():
    plain = LayerOutcome(layer=digest("a"), ztoc=digest("ztoc"), size=7, seconds=12.3456)

    assert plain.to_document() == {
        "layer": str(digest("a")),
        "ztoc": str(digest("ztoc")),
        "size": 7,
        "seconds": 12.3,
    }


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"action": "dance"}, "action: expected one of index, tag, skip, got 'dance'"),
        ({"origin": None}, "origin: expected one of push"),
        ({"force": "yes"}, "force: expected boolean, got string"),
        ({"reason": "because"}, "reason: expected one of repository-excluded"),
        ({"digest": "sha256:1"}, "digest: digest 'sha256:1'"),
        ({"layers": [{"layer": 1}]}, r"layers\[0\]\.layer: expected string, got number"),
        ({"layers": []}, r"platforms\[0\]\.layers: a layer that is none of the 0 indexed ones"),
        ({"platforms": [{"platform": 1}]}, r"platforms\[0\]\.platform: expected string, got number"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_invalid_publish_job_is_refused_with_the_path(change, problem):
    state = DECISION.to_document() | {"layers": [outcome.to_document() for outcome in OUTCOMES]} | change

    with pytest.raises(InvalidDocument, match=f"^publish job: {problem}"):
        PublishJob.from_document(state)


def test_the_output_of_an_execution_has_outcome_reason_and_image():
    published = Published(
        outcome=Outcome.INDEXED,
        request=REQUEST,
        v2=PublishedImage(digest=digest("v2"), tag=None, tag_left_alone=TagLeftAlone.IMMUTABLE),
        v1=(digest("v1"),),
        platforms=(
            PublishedPlatform(
                platform="linux/amd64",
                image=digest("amd"),
                index=digest("index"),
                layers_indexed=2,
                left_out={Reason.ZSTD: 1},
            ),
        ),
        ztoc_bytes=5,
        layer_bytes=8,
        streamed_bytes=6,
        reused_bytes=7,
        read_back=ReadBack(manifests=1, ztocs=2, spans=3),
        work=Work(layers=2, layer_seconds=3.14, publish_seconds=0.21),
    )

    document = through_json(published.to_document())

    assert document == {
        "outcome": "indexed",
        "reason": None,
        "detail": "",
        **REQUEST.to_document(),
        "v2": {"digest": str(digest("v2")), "tag": None, "tag_left_alone": "immutable"},
        "v1": {"indexes": [str(digest("v1"))]},
        "platforms": [
            {
                "platform": "linux/amd64",
                "image": str(digest("amd")),
                "index": str(digest("index")),
                "layers_indexed": 2,
                "left_out": {"zstd": 1},
            }
        ],
        "ztoc_bytes": 5,
        "layer_bytes": 8,
        "streamed_bytes": 6,
        "reused_bytes": 7,
        "read_back": {"manifests": 1, "ztocs": 2, "spans": 3},
        "work": {"layers": 2, "layer_seconds": 3.1, "publish_seconds": 0.2},
    }


def test_details_are_bounded():
    outcome = LayerOutcome(layer=digest("a"), left_out=LeftOut(reason=Reason.SPARSE_FILE, detail="x" * 5_000))

    assert len(str(outcome.to_document()["detail"])) == DETAIL_BYTES
    assert bounded("short") == "short"


@pytest.mark.parametrize("letter", ["x", "\x00", '"', "\\", "ü", "層", "😀"])
def test_a_detail_is_bounded_by_its_bytes_in_json(letter):
    for length in (10, 40, 159, 160, 161, 1_000):
        detail = bounded(letter * length)

        assert len(json.dumps(detail)) - 2 <= DETAIL_BYTES
        assert detail == letter * length or len(json.dumps(detail)) - 2 > DETAIL_BYTES - 12


def test_the_state_after_indexing_five_platforms_of_127_zstd_layers_fits():
    places = iter(range(5 * 127))
    platforms = tuple(
        PlatformPlan(
            platform="linux/arm64/v8",
            digest=digest(number),
            layers=tuple(next(places) for _ in range(127)),
        )
        for number in range(5)
    )
    outcomes = tuple(
        LayerOutcome(
            layer=digest(number),
            ztoc=digest(-number),
            size=12_345_678,
            seconds=123.4,
            recompressed=RecompressedLayer(
                of=digest(number), digest=digest(number + 0.1), size=12_345_678_901
            ),
        )
        for number in range(5 * 127)
    )
    job = PublishJob(
        decision=Decision(action=Action.INDEX, request=REQUEST, platforms=platforms), outcomes=outcomes
    )

    size_bytes = len(json.dumps(job.to_document(), separators=(",", ":")))

    assert size_bytes < 0.8 * STATE_LIMIT_BYTES
