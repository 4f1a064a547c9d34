"""Checks of the zTOCs that a message names, before an index names them.

Each zTOC is fetched. It must have what the settings ask for, and a lazy reader must accept it. An image may have
hundreds of zTOCs, so memory holds only a few at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from soci.build.reuse import check_as_made, read_spans
from soci.errors import InvalidZtoc
from soci.image.indexed import fetch_ztoc
from soci.oci.descriptor import Descriptor
from soci.places.cancellation import cancellable_threads
from soci.places.ports import ImageSource
from soci.settings import IndexSettings, Optimization
from soci.ztoc.decode import decode_compression_info, decode_needs_xattrs

T = TypeVar("T")

AT_A_TIME = 4
"""Most of the time is spent waiting for the registry."""

LARGE_BYTES = 16 << 20
"""A larger zTOC is checked alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerAndZtoc:
    """A layer and its zTOC."""

    layer: Descriptor
    ztoc: Descriptor

    def __str__(self) -> str:
        return f"zTOC {self.ztoc.digest} of layer {self.layer.digest}"


def for_each(
    pairs: Iterable[LayerAndZtoc], work: Callable[[LayerAndZtoc], T], *, span_size_bytes: int
) -> dict[LayerAndZtoc, T]:
    """Do some work for each pair, several at a time, and return the results.

    The work may hold one zTOC and one span in memory; large zTOCs are done one at a time. The first error of the work
    is raised, and work that has not begun is dropped.
    """
    each = sorted(pairs, key=lambda pair: -pair.ztoc.size)
    large = [pair for pair in each if pair.ztoc.size + span_size_bytes > LARGE_BYTES]
    small = each[len(large) :]
    done = {pair: work(pair) for pair in large}
    with cancellable_threads(AT_A_TIME) as pool:
        return done | dict(zip(small, pool.map(work, small), strict=True))


def check_as_planned(source: ImageSource, pair: LayerAndZtoc, settings: IndexSettings) -> bool:
    """Check a zTOC against its layer, the settings and the lazy reader's rules.

    Returns whether readers need the layer's extended attributes. Without the optimization `xattr` they always do.

    Raises:
        InvalidZtoc: a check failed; the message names the zTOC and its layer.
        IntegrityError, SourceError: the zTOC could not be read, or does not match its digest.
    """
    data = fetch_ztoc(source, pair.ztoc)
    try:
        check_as_made(source, pair.layer, data, settings)
        return Optimization.XATTR not in settings.optimizations or decode_needs_xattrs(data)
    except InvalidZtoc as error:
        raise InvalidZtoc(f"{pair}: {error}") from None


def read_middle_span(source: ImageSource, pair: LayerAndZtoc) -> None:
    """Fetch a zTOC and read the span in its middle as a lazy reader does: by range, hashed, inflated.

    Raises:
        InvalidZtoc, DigestMismatch, SizeMismatch: the layer cannot be read through the zTOC.
        SourceError: the zTOC or the span could not be fetched.
    """
    info = decode_compression_info(fetch_ztoc(source, pair.ztoc))
    if info.spans:
        read_spans(source, pair.layer, info, [len(info.spans) // 2])
