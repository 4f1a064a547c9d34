"""The event that ECR sends to EventBridge for each pushed manifest (ECR user guide, "EventBridge")."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from local.registry.store import INDEX_TYPES, Manifest

ACCOUNT = "123456789012"
REGION = "eu-central-1"


def push_event(repository: str, manifest: Manifest, tag: str | None, now: float) -> dict[str, Any]:
    """Return the event of a push. The tag of an untagged manifest is empty; an index has no artifact type."""
    detail = {
        "result": "SUCCESS",
        "repository-name": repository,
        "image-digest": manifest.digest,
        "action-type": "PUSH",
        "image-tag": tag or "",
        "manifest-media-type": manifest.media_type,
    }
    if manifest.media_type not in INDEX_TYPES:
        detail["artifact-media-type"] = manifest.artifact_type
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "ECR Image Action",
        "source": "aws.ecr",
        "account": ACCOUNT,
        "time": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": REGION,
        "resources": [],
        "detail": detail,
    }
