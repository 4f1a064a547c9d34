"""zTOCs that were made elsewhere: fetched one at a time, checked, and let go again.

A publisher knows of a zTOC no more than a message says. Before an index names it, it is fetched and has to be what the
settings ask for and what a lazy reader takes. An image may have hundreds, so memory holds only a few at any time.
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
"""Most of the time goes into waiting for the registry."""

LARGE_BYTES = 16 << 20
"""What is larger is dealt with by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerAndZtoc:
    """A layer and the zTOC that it is to be read through."""

    layer: Descriptor
    ztoc: Descriptor

    def __str__(self) -> str:
        return f"zTOC {self.ztoc.digest} of layer {self.layer.digest}"


def for_each(
    pairs: Iterable[LayerAndZtoc], work: Callable[[LayerAndZtoc], T], *, span_size_bytes: int
) -> dict[LayerAndZtoc, T]:
    """Do something that holds a zTOC and one span, for each; several at a time, but for large ones.

    Gives what came of each. Raises what the work raises, the first time that it does; what was not begun by then is
    not done.
    """
    each = sorted(pairs, key=lambda pair: -pair.ztoc.size)
    large = [pair for pair in each if pair.ztoc.size + span_size_bytes > LARGE_BYTES]
    small = each[len(large) :]
    done = {pair: work(pair) for pair in large}
    with cancellable_threads(AT_A_TIME) as pool:
        return done | dict(zip(small, pool.map(work, small), strict=True))


def check_as_planned(source: ImageSource, pair: LayerAndZtoc, settings: IndexSettings) -> bool:
    """Check that a zTOC is there, is of this layer and these settings, and that a lazy reader takes it.

    Gives whether readers need the layer's extended attributes, if the settings want to tell them otherwise.

    Raises:
        InvalidZtoc: it is not; the message names it and its layer.
        IntegrityError, SourceError: it could not be read, or its bytes are not those of its digest.
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
        InvalidZtoc, DigestMismatch, SizeMismatch: the layer cannot be read through it.
        SourceError: one of them could not be fetched.
    """
    info = decode_compression_info(fetch_ztoc(source, pair.ztoc))
    if info.spans:
        read_spans(source, pair.layer, info, [len(info.spans) // 2])
