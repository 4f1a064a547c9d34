"""From a reference to a repository: where its registry is, who logs in there, how fast it may be asked."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from soci.errors import InvalidOption
from soci.oci.reference import DOCKER_HUB, RegistryRef
from soci.places.registry.client import RegistryClient
from soci.places.registry.credentials import DockerConfig, Login, LoginAdvisor, LoginSource
from soci.places.registry.ecr import EcrLogins, parse_ecr_host
from soci.places.registry.http_messages import is_loopback
from soci.places.registry.rate_limit import ECR_RATES_PER_SECOND, Pace, shared_pace
from soci.places.registry.repository import RegistryRepository
from soci.places.registry.retry import Clock, RetryPolicy
from soci.places.registry.streaming import StreamSettings
from soci.places.registry.transport import Timeouts, Transport

PARALLEL_RANGES_VARIABLE = "SOCI_PARALLEL_RANGES"
RANGE_SIZE_VARIABLE = "SOCI_RANGE_SIZE_MIB"
_MAX_DIGITS = 6

DOCKER_HUB_URL = "https://registry-1.docker.io"


class FirstLogin:
    """The login of the first source that has one."""

    def __init__(self, sources: Sequence[LoginSource]) -> None:
        self._sources = sources

    def fetch_login(self, host: str, *, renew: bool) -> Login | None:
        """Ask the sources in their order. Raises what they raise."""
        found = (source.fetch_login(host, renew=renew) for source in self._sources)
        return next((login for login in found if login is not None), None)

    def advise(self, host: str) -> str:
        """Give the advice of all sources that have some."""
        given = (source.advise(host) for source in self._sources if isinstance(source, LoginAdvisor))
        return "; ".join(advice for advice in given if advice)


def open_repository(
    reference: RegistryRef,
    *,
    streaming: StreamSettings | None = None,
    retries: RetryPolicy | None = None,
    timeouts: Timeouts | None = None,
    logins: LoginSource | None = None,
) -> RegistryRepository:
    """Open the repository that a reference names. Nothing is asked yet.

    The login is that of AWS for a registry of Amazon ECR, if there are credentials, else that of Docker.
    """
    retries = retries or RetryPolicy()
    client = RegistryClient(
        base_url(reference.host),
        reference.host,
        transport=Transport(timeouts),
        logins=logins or FirstLogin([EcrLogins(), DockerConfig()]),
        retries=retries,
        pace=pace_of(reference.host, retries.clock),
    )
    return RegistryRepository(client, reference, streaming=streaming or stream_settings(os.environ))


def stream_settings(environment: Mapping[str, str]) -> StreamSettings:
    """Read how layers are read from SOCI_PARALLEL_RANGES and SOCI_RANGE_SIZE_MIB.

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


def pace_of(host: str, clock: Clock) -> Pace:
    """Return the pace of all clients of a registry; those of one account and region of ECR share their quotas."""
    ecr_host = parse_ecr_host(host)
    if ecr_host is None:
        return shared_pace(host, {}, clock)
    return shared_pace(f"{ecr_host.account}.{ecr_host.region}", ECR_RATES_PER_SECOND, clock)


def base_url(host: str) -> str:
    """Return where a registry listens: over HTTPS, on this machine over plain HTTP as Docker does."""
    if host == DOCKER_HUB:
        return DOCKER_HUB_URL
    scheme = "http" if is_loopback(urlsplit(f"//{host}").hostname or "") else "https"
    return f"{scheme}://{host}"
