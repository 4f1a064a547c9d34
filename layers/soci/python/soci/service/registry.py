"""The registry of the account, as the functions open it: one client and one login for as long as the process lives."""

from __future__ import annotations

from soci.errors import InvalidDocument, InvalidReference
from soci.oci.digest import Digest
from soci.oci.reference import RegistryRef
from soci.places.registry.client import RegistryClient
from soci.places.registry.connect import base_url
from soci.places.registry.credentials import LoginSource
from soci.places.registry.ecr import EcrLogins
from soci.places.registry.ecr_api import EcrApi
from soci.places.registry.rate_limit import ECR_RATES_PER_SECOND, Pace
from soci.places.registry.repository import RegistryRepository
from soci.places.registry.retry import RetryPolicy
from soci.places.registry.transport import Timeouts, Transport

SHORT = RetryPolicy(deadline_seconds=60)
"""Of functions that have a minute or two: what fails for longer is left to the workflow, which waits at no cost."""


class RegistryPlace:
    """Opens images by repository and tag or digest: the `ImageOpener` of the functions. Shared by threads.

    Whatever the host looks like, it is a registry of ECR: the login is GetAuthorizationToken's, and requests keep
    to ECR's rates. What is opened anew knows nothing of what was read or written before.
    """

    def __init__(
        self,
        host: str,
        *,
        logins: LoginSource | None = None,
        retries: RetryPolicy | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        self.host = host
        self.api = EcrApi(host)
        """ECR's own API, which knows what there is."""
        retries = retries or RetryPolicy()
        self._client = RegistryClient(
            base_url(host),
            host,
            transport=Transport(timeouts),
            logins=logins or EcrLogins(any_host=True),
            retries=retries,
            pace=Pace(ECR_RATES_PER_SECOND, retries.clock),
        )

    def open_image(self, repository: str, reference: str) -> RegistryRepository:
        """Open a repository at a tag or a digest. Nothing is asked yet.

        Raises:
            InvalidReference: the repository or the tag has no name that a registry takes.
        """
        tag, digest = (None, _digest(reference)) if ":" in reference else (reference, None)
        place = RegistryRef(host=self.host, repository=repository, tag=tag, digest=digest)
        return RegistryRepository(self._client, place)

    __call__ = open_image


def _digest(text: str) -> Digest:
    try:
        return Digest.parse(text)
    except InvalidDocument as error:
        raise InvalidReference(f"reference {text[:100]!r}: {error}") from None
