"""Connecting to a registry: its address, its login, its rate limits, its retries. All of soci opens registries here."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from soci.errors import InvalidDocument, InvalidOption, InvalidReference
from soci.oci.digest import Digest
from soci.oci.reference import DOCKER_HUB, RegistryRef
from soci.places.registry.blob_reader import StreamSettings
from soci.places.registry.client import RegistryClient
from soci.places.registry.credentials import DockerConfig, Login, LoginAdvisor, LoginSource
from soci.places.registry.ecr import EcrLogins, parse_ecr_host
from soci.places.registry.rate_limit import ECR_RATES_PER_SECOND, RateLimiter, shared_rate_limiter
from soci.places.registry.repository import RegistryRepository
from soci.places.registry.retry import Clock, RetryPolicy
from soci.places.registry.transport import Timeouts, Transport
from soci.places.registry.urls import is_loopback

PARALLEL_RANGES_VARIABLE = "SOCI_PARALLEL_RANGES"
RANGE_SIZE_VARIABLE = "SOCI_RANGE_SIZE_MIB"
_MAX_DIGITS = 6

DOCKER_HUB_URL = "https://registry-1.docker.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """A registry with its client. Shared by threads; the login and the connections are kept."""

    host: str
    is_ecr: bool
    """Whether it is a registry of Amazon ECR, so that ECR's own API knows it as well."""
    client: RegistryClient = field(repr=False)
    streaming: StreamSettings

    def open_image(self, repository: str, reference: str) -> RegistryRepository:
        """Open a repository at a tag or a digest: the `ImageOpener` of this registry. Sends no request.

        Each call returns a new value without memory of earlier reads and writes.

        Raises:
            InvalidReference: a registry cannot have such a repository, tag or digest.
        """
        if ":" in reference:
            return self.open_repository(repository, digest=_parse_digest(reference))
        return self.open_repository(repository, tag=reference)

    def open_repository(
        self, name: str, *, tag: str | None = None, digest: Digest | None = None
    ) -> RegistryRepository:
        """Open a repository; tag and digest say which image `fetch_root` describes. Sends no request.

        Raises `InvalidReference` as `open_image` does.
        """
        reference = RegistryRef(host=self.host, repository=name, tag=tag, digest=digest)
        return RegistryRepository(self.client, reference, streaming=self.streaming)


class FirstLogin:
    """The login of the first source that has one."""

    def __init__(self, sources: Sequence[LoginSource]) -> None:
        self._sources = sources

    def fetch_login(self, host: str, *, renew: bool) -> Login | None:
        """Ask the sources in their order. Raises what they raise."""
        found = (source.fetch_login(host, renew=renew) for source in self._sources)
        return next((login for login in found if login is not None), None)

    def advise(self, host: str) -> str:
        """Return the advice of all sources that have some."""
        given = (source.advise(host) for source in self._sources if isinstance(source, LoginAdvisor))
        return "; ".join(advice for advice in given if advice)


def connect(
    host: str,
    *,
    is_ecr: bool = False,
    retries: RetryPolicy | None = None,
    timeouts: Timeouts | None = None,
    logins: LoginSource | None = None,
    streaming: StreamSettings | None = None,
) -> Registry:
    """Connect to a registry. Sends no request: the login comes with the first one.

    `is_ecr` says that the registry is one of Amazon ECR although its name does not show it, such as a custom
    domain or a test's. The rules:

        login        by GetAuthorizationToken alone where `is_ecr` says ECR; else by it if the name is one of
                     ECR and AWS credentials exist, else Docker's config.json
        rate limits  ECR's quotas for ECR; shared in this process by all clients of an account and region, or
                     of a host whose name does not tell them
        retries      `RetryPolicy()`: five attempts, two minutes. A caller with less time passes its own policy

    Raises `InvalidOption` when a variable of the environment is wrong; see `stream_settings`.
    """
    retries = retries or RetryPolicy()
    client = RegistryClient(
        base_url(host),
        host,
        transport=Transport(timeouts),
        logins=logins or _logins(is_ecr=is_ecr),
        retries=retries,
        rate_limiter=rate_limiter_of(host, retries.clock, is_ecr=is_ecr),
    )
    return Registry(
        host=host,
        is_ecr=is_ecr or parse_ecr_host(host) is not None,
        client=client,
        streaming=streaming or stream_settings(os.environ),
    )


def _logins(*, is_ecr: bool) -> LoginSource:
    return EcrLogins(any_host=True) if is_ecr else FirstLogin([EcrLogins(), DockerConfig()])


def rate_limiter_of(host: str, clock: Clock, *, is_ecr: bool = False) -> RateLimiter:
    """Return the rate limiter that all clients of a registry share; an ECR quota is per account and region."""
    if ecr_host := parse_ecr_host(host):
        return shared_rate_limiter(f"{ecr_host.account}.{ecr_host.region}", ECR_RATES_PER_SECOND, clock)
    if is_ecr:
        return shared_rate_limiter(f"{host} of ECR", ECR_RATES_PER_SECOND, clock)
    return shared_rate_limiter(host, {}, clock)


def stream_settings(environment: Mapping[str, str]) -> StreamSettings:
    """Read SOCI_PARALLEL_RANGES and SOCI_RANGE_SIZE_MIB: how layers are read.

    They change no byte of an index, only speed and memory. Raises `InvalidOption`.
    """
    usual = StreamSettings()
    mib = _number(environment, RANGE_SIZE_VARIABLE, usual.range_size_bytes >> 20)
    ranges = _number(environment, PARALLEL_RANGES_VARIABLE, usual.parallel_ranges)
    return StreamSettings(parallel_ranges=ranges, range_size_bytes=mib << 20)


def _number(environment: Mapping[str, str], name: str, usual: int) -> int:
    text = environment.get(name, "")
    if text and not (text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS):
        raise InvalidOption(f"{name}: expected a number, got {text[:40]!r}")
    return int(text) if text else usual


def base_url(host: str) -> str:
    """Return a registry's URL: HTTPS, or plain HTTP on this machine as Docker does it."""
    if host == DOCKER_HUB:
        return DOCKER_HUB_URL
    scheme = "http" if is_loopback(urlsplit(f"//{host}").hostname or "") else "https"
    return f"{scheme}://{host}"


def _parse_digest(text: str) -> Digest:
    try:
        return Digest.parse(text)
    except InvalidDocument as error:
        raise InvalidReference(f"reference {text[:100]!r}: {error}") from None
