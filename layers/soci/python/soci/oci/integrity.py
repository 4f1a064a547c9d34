"""Check content against its descriptor: whole, or while it streams."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import TypeVar

from soci.errors import DigestMismatch, SizeMismatch
from soci.oci.descriptor import Descriptor

Chunk = TypeVar("Chunk", bytes, bytes | bytearray)


def check_content(descriptor: Descriptor, data: bytes) -> None:
    """Raise `SizeMismatch` or `DigestMismatch` unless the data fits the descriptor."""
    check_chunks(descriptor, (data,))


def check_chunks(descriptor: Descriptor, chunks: Iterable[bytes]) -> None:
    """Read all chunks. Raise `SizeMismatch` or `DigestMismatch` unless they fit the descriptor."""
    for _ in checked(descriptor, chunks):
        pass


def checked(descriptor: Descriptor, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """Yield the chunks unchanged. Check size and digest after the last one, so read all of them.

    Raises:
        SizeMismatch: the content is too long, raised at once, or too short.
        DigestMismatch: the content has another digest.
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
