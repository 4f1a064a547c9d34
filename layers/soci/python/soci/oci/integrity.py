"""Content checked against its descriptor: whole, or while it streams past."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import TypeVar

from soci.errors import DigestMismatch, SizeMismatch
from soci.oci.descriptor import Descriptor

Chunk = TypeVar("Chunk", bytes, bytes | bytearray)


def check_content(descriptor: Descriptor, data: bytes) -> None:
    """Raise `SizeMismatch` or `DigestMismatch` unless the data is what the descriptor describes."""
    for _ in checked(descriptor, (data,)):
        pass


def checked(descriptor: Descriptor, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """Pass chunks on and check size and digest on the way.

    Raises `SizeMismatch` as soon as there is too much, it or `DigestMismatch` after the last chunk: whoever
    stops early has checked nothing.
    """
    content_hash = hashlib.new(descriptor.digest.algorithm)
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > descriptor.size:
            raise SizeMismatch(f"{descriptor.digest}: more than the {descriptor.size} bytes declared")
        content_hash.update(chunk)
        yield chunk
    if size < descriptor.size:
        raise SizeMismatch(f"{descriptor.digest}: {size} bytes, {descriptor.size} declared")
    if content_hash.hexdigest() != descriptor.digest.hex:
        actual = f"{descriptor.digest.algorithm}:{content_hash.hexdigest()}"
        raise DigestMismatch(f"{descriptor.digest}: the content's digest is {actual}")
