"""The MAC of a row, made with a key that never leaves KMS. It proves that a builder of this stack wrote the row."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from soci.service.layer.optional_service import OptionalService

ALGORITHM = "HMAC_SHA_256"
MAC_BYTES = 32


class RowMac(Protocol):
    """Makes and checks MACs. It may be unavailable."""

    def make(self, message: bytes) -> str | None:
        """Return the MAC of a message as text; None while unavailable."""

    def is_right(self, message: bytes, mac: str) -> bool | None:
        """Tell whether a MAC is that of a message; None while unavailable."""


class KmsMac:
    """A `RowMac` with an HMAC key of KMS. Shared by threads.

    Messages have 1 to 4096 bytes (KMS API reference, GenerateMac and VerifyMac).
    """

    def __init__(
        self,
        key: str,
        *,
        make_client: Callable[[], Any] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._key = key
        self._kms = OptionalService("kms", f"key {key}", make_client=make_client, now=now)

    def make(self, message: bytes) -> str | None:
        """See `RowMac`."""
        answer = self._kms.ask(
            lambda client: client.generate_mac(KeyId=self._key, Message=message, MacAlgorithm=ALGORITHM)
        )
        return None if answer is None else bytes(answer["Mac"]).hex()

    def is_right(self, message: bytes, mac: str) -> bool | None:
        """See `RowMac`."""
        try:
            data = bytes.fromhex(mac)
        except ValueError:
            return False
        if len(data) != MAC_BYTES:
            return False  # KMS would refuse the request, and seem to be unavailable
        answer = self._kms.ask(lambda client: self._verify(client, message, data))
        return None if answer is None else answer["MacValid"] is True

    def _verify(self, client: Any, message: bytes, mac: bytes) -> Mapping[str, Any]:  # noqa: ANN401
        try:
            answer: Mapping[str, Any] = client.verify_mac(
                KeyId=self._key, Message=message, MacAlgorithm=ALGORITHM, Mac=mac
            )
        except client.exceptions.KMSInvalidMacException:
            return {"MacValid": False}
        return answer
