"""Amazon ECR: which hosts are registries of it, and how to log in there. The one place that knows boto3."""

from __future__ import annotations

import base64
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from soci.errors import RegistryUnavailable, Unauthorized
from soci.registry.credentials import Login

_DNS_SUFFIXES = (
    "amazonaws.com",  # aws and aws-us-gov
    "amazonaws.com.cn",
    "amazonaws.eu",
    "c2s.ic.gov",
    "sc2s.sgov.gov",
    "cloud.adc-e.uk",
    "csp.hci.ic.gov",
)
_DUAL_STACK_SUFFIXES = ("on.aws", "on.amazonwebservices.com.cn", "on.amazonwebservices.eu")
_HOST = re.compile(
    r"(?P<account>\d{12})\.dkr(?P<separator>[.-])ecr(?P<fips>-fips)?\.(?P<region>[a-z0-9][a-z0-9-]*)"
    rf"\.(?P<suffix>{'|'.join(map(re.escape, (*_DNS_SUFFIXES, *_DUAL_STACK_SUFFIXES)))})"
)

RENEW_BEFORE_SECONDS = 15 * 60
"""A token holds for twelve hours. One with less than this left might end during a long upload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EcrHost:
    """A private registry of Amazon ECR: `ACCOUNT.dkr.ecr[-fips].REGION.SUFFIX`, dual-stack with `dkr-ecr`."""

    account: str
    region: str
    fips: bool
    dual_stack: bool


def parse_ecr_host(host: str) -> EcrHost | None:
    """Tell whether a host is a registry of Amazon ECR, in whatever partition; None when it is not."""
    match = _HOST.fullmatch(host.lower())
    if match is None:
        return None
    dual_stack = match["separator"] == "-"
    if dual_stack != (match["suffix"] in _DUAL_STACK_SUFFIXES):
        return None
    return EcrHost(
        account=match["account"],
        region=match["region"],
        fips=match["fips"] is not None,
        dual_stack=dual_stack,
    )


class EcrLogins:
    """Logins by GetAuthorizationToken, with whatever credentials of AWS the process has; kept until they end.

    `make_client` makes the boto3 client for a host; tests bring their own.
    """

    def __init__(
        self,
        make_client: Callable[[EcrHost], Any] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._make_client = make_client or boto3_client
        self._now = now
        self._lock = threading.Lock()
        self._kept: dict[EcrHost, tuple[Login, float]] = {}

    def fetch_login(self, host: str, *, renew: bool) -> Login | None:
        """Return the login for a registry of ECR; None for other hosts and without credentials of AWS."""
        ecr_host = parse_ecr_host(host)
        if ecr_host is None:
            return None
        with self._lock:
            kept = self._kept.get(ecr_host)
            if kept is None or renew or self._now() >= kept[1] - RENEW_BEFORE_SECONDS:
                kept = _fetch(self._make_client, ecr_host)
                if kept is None:
                    return None
                self._kept[ecr_host] = kept
            login, ends_at = kept
            return replace(login, valid_seconds=max(0.0, ends_at - RENEW_BEFORE_SECONDS - self._now()))


def _fetch(make_client: Callable[[EcrHost], Any], host: EcrHost) -> tuple[Login, float] | None:
    try:
        import botocore.exceptions  # noqa: PLC0415 - slow to import, and there only with the extra `aws`
    except ImportError:
        return None
    where = f"GetAuthorizationToken for {host.account} in {host.region}"
    try:
        answer = make_client(host).get_authorization_token()
        data = answer["authorizationData"][0]
        username, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
        expires_at = data["expiresAt"].timestamp()
    except botocore.exceptions.NoCredentialsError:
        return None
    except botocore.exceptions.ClientError as error:
        code = error.response.get("Error", {}).get("Code", "unknown error")
        raise Unauthorized(f"{where}: {code}") from None
    except (botocore.exceptions.HTTPClientError, botocore.exceptions.ConnectionError) as error:
        raise RegistryUnavailable(f"{where}: {type(error).__name__}") from None
    except botocore.exceptions.BotoCoreError as error:  # a profile, a role or a session that does not work
        raise Unauthorized(f"{where}: {type(error).__name__}") from None
    except (KeyError, IndexError, ValueError):  # the answer is a secret and stays out of the message
        raise Unauthorized(f"{where}: the answer has no token") from None
    return Login(username=username, password=password), expires_at


def boto3_client(host: EcrHost) -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
    """Make a client for the region of a registry, of the same kind of endpoint (FIPS, dual-stack)."""
    import boto3  # noqa: PLC0415 - see `_fetch`
    from botocore.config import Config  # noqa: PLC0415

    config = Config(use_fips_endpoint=host.fips, use_dualstack_endpoint=host.dual_stack)
    return boto3.client("ecr", region_name=host.region, config=config)
