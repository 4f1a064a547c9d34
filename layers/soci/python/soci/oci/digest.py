"""Content digests: `sha256:<64 lower-case hex digits>` (OCI image spec, descriptor.md, "Digests")."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from soci.errors import InvalidDocument

HEX_DIGITS_OF = {"sha256": 64, "sha512": 128}
"""The algorithms that documents may use. Each has a number of hex digits."""

_NOT_LOWER_HEX = re.compile("[^0-9a-f]")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Digest:
    """The digest of some content. Its algorithm is known and its hex digits are well formed."""

    algorithm: str
    hex: str

    def __post_init__(self) -> None:
        length = HEX_DIGITS_OF.get(self.algorithm)
        if length is None:
            known = " or ".join(HEX_DIGITS_OF)
            raise _invalid(self, f"expected algorithm {known}, got {self.algorithm[:40]!r}")
        if len(self.hex) != length:
            raise _invalid(self, f"expected {length} hex digits, got {len(self.hex)}")
        if stranger := _NOT_LOWER_HEX.search(self.hex):
            raise _invalid(self, f"expected lower-case hex digits, got {stranger.group()!r}")

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read `algorithm:hex`. Raises `InvalidDocument`, which names the wrong part."""
        algorithm, separator, digits = text.partition(":")
        if not separator:
            raise _invalid(text, "no ':' between algorithm and hex digits")
        return cls(algorithm=algorithm, hex=digits)

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


def digest_of(data: bytes | bytearray | memoryview, algorithm: str = "sha256") -> Digest:
    """Return the digest of content in memory."""
    return Digest(algorithm=algorithm, hex=hashlib.new(algorithm, data).hexdigest())


def _invalid(digest: object, problem: str) -> InvalidDocument:
    return InvalidDocument(f"digest {str(digest)[:160]!r}: {problem}")
