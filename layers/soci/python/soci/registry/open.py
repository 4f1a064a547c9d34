"""From a reference to a repository: where its registry is, who logs in there, how fast it may be asked."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from soci.oci.reference import DOCKER_HUB, RegistryRef
from soci.registry.client import RegistryClient
from soci.registry.credentials import DockerConfig, Login, LoginSource
from soci.registry.ecr import EcrLogins, parse_ecr_host
from soci.registry.messages import is_loopback
from soci.registry.pace import ECR_RATES_PER_SECOND, Pace
from soci.registry.repository import RegistryRepository
from soci.registry.retry import RetryPolicy
from soci.registry.streaming import StreamSettings
from soci.registry.transport import Timeouts, Transport

DOCKER_HUB_URL = "https://registry-1.docker.io"


class FirstLogin:
    """The login of the first source that has one."""

    def __init__(self, sources: Sequence[LoginSource]) -> None:
        self._sources = sources

    def fetch_login(self, host: str, *, renew: bool) -> Login | None:
        """Ask the sources in their order. Raises what they raise."""
        found = (source.fetch_login(host, renew=renew) for source in self._sources)
        return next((login for login in found if login is not None), None)


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
    rates = ECR_RATES_PER_SECOND if parse_ecr_host(reference.host) else {}
    client = RegistryClient(
        base_url(reference.host),
        reference.host,
        transport=Transport(timeouts),
        logins=logins or FirstLogin([EcrLogins(), DockerConfig()]),
        retries=retries,
        pace=Pace(rates, retries.clock),
    )
    return RegistryRepository(client, reference, streaming=streaming)


def base_url(host: str) -> str:
    """Return where a registry listens: over HTTPS, on this machine over plain HTTP as Docker does."""
    if host == DOCKER_HUB:
        return DOCKER_HUB_URL
    scheme = "http" if is_loopback(urlsplit(f"//{host}").hostname or "") else "https"
    return f"{scheme}://{host}"
