"""Amazon ECR: its host names, the login by GetAuthorizationToken, and errors of boto3."""

from __future__ import annotations

import base64
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from soci.errors import RegistryError, RegistryUnavailable, Throttled, Unauthorized
from soci.places.registry.credentials import Login

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
"""A token is valid for twelve hours. With less time left it might expire during a long upload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EcrHost:
    """A private registry of Amazon ECR: `ACCOUNT.dkr.ecr[-fips].REGION.SUFFIX`, dual-stack with `dkr-ecr`."""

    account: str
    region: str
    fips: bool
    dual_stack: bool


def parse_ecr_host(host: str) -> EcrHost | None:
    """Parse the host of a registry of Amazon ECR, in any partition; None for other hosts.

    A host with port 443 is the same registry.
    """
    match = _HOST.fullmatch(host.lower().removesuffix(":443"))
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


ATTEMPTS = 5
"""Per API call, as per request to the registry."""

CONNECT_SECONDS, READ_SECONDS = 10, 30
"""As for the registry. The defaults of boto3 are a minute each."""

_THROTTLED = frozenset(
    {"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"}
)
_TEXT_CHARACTERS = 300


class EcrLogins:
    """Logins by GetAuthorizationToken, with the AWS credentials of the process; kept until they expire.

    `make_client` makes the boto3 client for a host. With `any_host` every host counts as ECR. A host with another
    name counts as the registry of the process's own account and region.
    """

    def __init__(
        self,
        make_client: Callable[[EcrHost | None], Any] | None = None,
        now: Callable[[], float] = time.time,
        *,
        any_host: bool = False,
    ) -> None:
        self._make_client = make_client or boto3_client
        self._now = now
        self._any_host = any_host
        self._lock = threading.Lock()
        self._kept: dict[EcrHost | None, tuple[Login, float]] = {}
        self._lacks: dict[str, str] = {}

    def fetch_login(self, host: str, *, renew: bool) -> Login | None:
        """Return the login for a registry of ECR; None for other hosts and without AWS credentials."""
        ecr_host = parse_ecr_host(host)
        if ecr_host is None and not self._any_host:
            return None
        with self._lock:
            kept = self._kept.get(ecr_host)
            if kept is None or renew or self._now() >= kept[1] - RENEW_BEFORE_SECONDS:
                try:
                    kept = _fetch(self._make_client, ecr_host)
                except _NoCredentials as lack:
                    self._lacks[host] = str(lack)
                    return None
                self._kept[ecr_host] = kept
            login, ends_at = kept
            return replace(login, valid_seconds=max(0.0, ends_at - RENEW_BEFORE_SECONDS - self._now()))

    def advise(self, host: str) -> str:
        """Return what the AWS login lacked; "" for other hosts."""
        return self._lacks.get(host, "")


class _NoCredentials(Exception):
    """There is no login, because boto3 or the credentials are missing."""


def _fetch(make_client: Callable[[EcrHost | None], Any], host: EcrHost | None) -> tuple[Login, float]:
    try:
        import botocore.exceptions  # noqa: PLC0415 - slow to import, and there only with the extra `aws`
    except ImportError:
        raise _NoCredentials("an AWS login needs boto3, which is not installed (extra `aws`)") from None
    where = "GetAuthorizationToken" + ("" if host is None else f" for {host.account} in {host.region}")
    try:
        data = _ask_for_token(make_client, host)["authorizationData"][0]
        username, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
        expires_at = data["expiresAt"].timestamp()
    except botocore.exceptions.NoCredentialsError:
        raise _NoCredentials("no AWS credentials found in the environment or in ~/.aws") from None
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
        raise error_from_aws(where, error) from None
    except (KeyError, IndexError, ValueError):  # the response is secret: no part of it goes into the message
        raise Unauthorized(f"{where}: the response has no token") from None
    return Login(username=username, password=password), expires_at


class _Secrecy(logging.Filter):
    """Drops the debug log of a thread while it handles a secret: botocore logs whole responses."""

    def __init__(self) -> None:
        super().__init__()
        self._threads = threading.local()

    @contextmanager
    def for_this_thread(self) -> Iterator[None]:
        self._threads.is_secret = True
        try:
            yield
        finally:
            self._threads.is_secret = False

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno > logging.DEBUG or not getattr(self._threads, "is_secret", False)


_SECRECY = _Secrecy()
_TALKATIVE = ("boto3", "botocore", "urllib3")


def _ask_for_token(make_client: Callable[[EcrHost | None], Any], host: EcrHost | None) -> Mapping[str, Any]:
    with _SECRECY.for_this_thread():
        _watch_loggers()
        client = make_client(host)
        _watch_loggers()  # more of boto3 is loaded for a client
        response: Mapping[str, Any] = client.get_authorization_token()
    return response


def _watch_loggers() -> None:
    # A filter applies to its own logger, not to the loggers below.
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in _TALKATIVE:
            logging.getLogger(name).addFilter(_SECRECY)


def error_from_aws(where: str, error: Exception, *, with_text: bool = False) -> RegistryError:
    """Translate an error of boto3: kind and code, and the message if it is not secret (`with_text`)."""
    import botocore.exceptions  # noqa: PLC0415 - see `_fetch`

    if isinstance(error, botocore.exceptions.ClientError):
        details = error.response.get("Error", {})
        code = str(details.get("Code", "unknown error"))
        text = f": {details.get('Message', '')[:_TEXT_CHARACTERS]}" if with_text else ""
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return _kind_of(code, status)(f"{where}: {code}{text}", status=status)
    if isinstance(error, botocore.exceptions.HTTPClientError | botocore.exceptions.ConnectionError):
        return RegistryUnavailable(f"{where}: {type(error).__name__}")
    # A profile, a role or a session that does not work.
    return Unauthorized(f"{where}: {type(error).__name__}")


def _kind_of(code: str, status: int | None) -> type[RegistryError]:
    if code in _THROTTLED or status == HTTPStatus.TOO_MANY_REQUESTS:
        return Throttled
    if code == "ServerException" or (status or 0) >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return RegistryUnavailable
    return RegistryError if code == "InvalidParameterException" else Unauthorized


def boto3_client(host: EcrHost | None) -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
    """Make a client for a registry's region, with the same kind of endpoint (FIPS, dual-stack).

    Without a host, the region is the process's own.
    """
    import boto3  # noqa: PLC0415 - see `_fetch`
    from botocore.config import Config  # noqa: PLC0415

    config = Config(
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
    )
    if host is None:
        return boto3.client("ecr", config=config)
    kind = Config(use_fips_endpoint=host.fips, use_dualstack_endpoint=host.dual_stack)
    return boto3.client("ecr", region_name=host.region, config=config.merge(kind))
