"""Input of the recorder, as state machines and Step Functions send it, and the schema of its events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema

from soci.oci.digest import digest_of
from soci.reasons import Reason
from soci.service.cost import FunctionSizes
from soci.service.messages import (
    Action,
    Decision,
    ImageRequest,
    Origin,
    Published,
    PublishedImage,
    PublishedPlatform,
    Work,
)
from soci.service.outcomes import ImageReason, Outcome
from soci.service.profile_messages import ProfileOrigin, PublishedProfile

DOCS = Path(__file__).parents[3] / "docs"
SCHEMA = json.loads((DOCS / "events.schema.json").read_text())

EXECUTION = "arn:aws:states:eu-central-1:123456789012:execution:IndexImage:a-name"
STARTED, ENDED = "2026-03-14T09:26:55.000Z", "2026-03-14T09:27:41.100Z"
PUSH_ID = "4a8b9e1c-0d6f-4f62-8f0a-2f3f0c9b7d11"
SIZES = FunctionSizes(
    architecture="arm64", image_filter=512, index_layer=3008, publish_index=1769, outcome_recorder=512
)

IMAGE = digest_of(b"image")
REQUEST = ImageRequest(
    repository="team/app",
    tag="1.4",
    digest=IMAGE,
    origin=Origin.PUSH,
    pushed_at="2026-03-14T09:26:53Z",
    correlation_id=PUSH_ID,
)
PUBLISHED = Published(
    outcome=Outcome.INDEXED,
    request=REQUEST,
    v2=PublishedImage(digest=digest_of(b"converted"), tag="1.4-soci"),
    v1=(digest_of(b"v1 index"),),
    platforms=(
        PublishedPlatform(
            platform="linux/amd64",
            image=digest_of(b"amd64"),
            index=digest_of(b"index"),
            layers_indexed=4,
            left_out={Reason.BELOW_MIN_SIZE: 12},
            profile=PublishedProfile(
                digest=digest_of(b"profile"),
                origin=ProfileOrigin.LINE,
                line="*",
                files=2_434,
                files_missing=12,
                needed_bytes=60_000_000,
                prefetched_bytes=59_000_000,
            ),
            profile_problem="tag soci-profile-1-linux-amd64: not valid JSON",
        ),
        PublishedPlatform(platform="windows/amd64", image=digest_of(b"w"), index=None, layers_indexed=0),
    ),
    layer_bytes=10_500_000,
    ztoc_bytes=12_345,
    streamed_bytes=3_000_000,
    reused_bytes=7_000_000,
    work=Work(layers=4, layer_seconds=31.4, publish_seconds=2.5),
)
SKIPPED = Decision(
    action=Action.SKIP,
    request=REQUEST,
    reason=ImageReason.IMAGE_TOO_SMALL,
    detail="9 bytes, the minimum is 10",
)
EXECUTION_FACTS = {"id": EXECUTION, "started_at": STARTED, "ended_at": ENDED}
BY_HAND = {"repository": "team/app", "tag": "1.4", "force": True}
CAUSE = json.dumps({"errorType": "GzipError", "errorMessage": "layer sha256:7f: truncated", "stackTrace": []})
CAUGHT = {
    "request": BY_HAND,
    "error": {"Error": "GzipError", "Cause": CAUSE},
    "execution": EXECUTION_FACTS,
}


def result(answer: Published | Decision) -> dict[str, Any]:
    """Return the input that the last state of the chain gives the recorder."""
    return {"result": answer.to_document(), "execution": EXECUTION_FACTS}


def status_change(started_with: object, **changes: Any) -> dict[str, Any]:
    """Return the event that Step Functions sends about a failed execution; its times are in milliseconds."""
    detail = {
        "executionArn": EXECUTION,
        "stateMachineArn": "arn:aws:states:eu-central-1:123456789012:stateMachine:IndexImage",
        "name": "a-name",
        "status": "FAILED",
        "startDate": 1773480415000,
        "stopDate": 1773480461100,
        "input": started_with if isinstance(started_with, str) else json.dumps(started_with),
        "inputDetails": {"included": True},
        "output": None,
        "outputDetails": None,
        "error": "GzipError",
        "cause": CAUSE,
    }
    return {
        "version": "0",
        "id": "315c1398-40ff-a850-213b-158f73e60175",
        "detail-type": "Step Functions Execution Status Change",
        "source": "aws.states",
        "account": "123456789012",
        "time": "2026-03-14T09:27:41Z",
        "region": "eu-central-1",
        "resources": [EXECUTION],
        "detail": detail | changes,
    }


def assert_as_promised(entry: dict[str, Any]) -> None:
    """Check an entry of PutEvents, in the form in which EventBridge delivers it, against the documented schema."""
    event = {
        "source": entry["Source"],
        "detail-type": entry["DetailType"],
        "resources": entry["Resources"],
        "time": str(entry["Time"]),
        "detail": json.loads(entry["Detail"]),
    }
    jsonschema.Draft202012Validator(SCHEMA).validate(event)
