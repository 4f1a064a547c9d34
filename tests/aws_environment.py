"""The environment in which boto3 finds a registry in memory instead of Amazon ECR."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import boto3
import pytest

from local.registry import Registry

REGION = "eu-central-1"


def variables_for(registry: Registry) -> dict[str, str]:
    """Return an endpoint, a region and invalid credentials."""
    return {
        "AWS_ENDPOINT_URL_ECR": f"http://{registry.host}",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@contextmanager
def as_aws(registry: Registry) -> Iterator[None]:
    """Send the calls of new boto3 clients to this registry."""
    with pytest.MonkeyPatch.context() as patch:
        for name, text in variables_for(registry).items():
            patch.setenv(name, text)
        patch.setattr(boto3, "DEFAULT_SESSION", None)  # it keeps the credentials that it has found once
        yield
