"""zTOCs that were made elsewhere: fetched one at a time, checked, and let go again.

A publisher knows of a zTOC no more than a message says. Before an index names it, it is fetched and has to be what the
settings ask for and what a lazy reader takes. An image may have hundreds, so memory holds only a few at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from soci.errors import InvalidZtoc
from soci.image import fetch_ztoc
from soci.layer.gzip_header import MAX_BYTES as MAX_HEADER_BYTES
from soci.oci.descriptor import Descriptor
from soci.plan import algorithm_of
from soci.ports import ImageSource
from soci.settings import IndexSettings
from soci.ztoc.checks import check_ztoc
from soci.ztoc.decode import decode_build_tool, decode_compression_info
from soci.ztoc.extract import SpanReader

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
    pairs: Iterable[LayerAndZtoc], work: Callable[[LayerAndZtoc], object], *, span_size_bytes: int
) -> None:
    """Do something that holds a zTOC and one span, for each; several at a time, but for large ones.

    Raises what the work raises, the first time that it does; what was not begun by then is not done.
    """
    each = sorted(pairs, key=lambda pair: -pair.ztoc.size)
    large = [pair for pair in each if pair.ztoc.size + span_size_bytes > LARGE_BYTES]
    for pair in large:
        work(pair)
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        for _ in pool.map(work, each[len(large) :]):
            pass


def check_as_planned(source: ImageSource, pair: LayerAndZtoc, settings: IndexSettings) -> None:
    """Check that a zTOC is there, is of this layer and these settings, and that a lazy reader takes it.

    Raises:
        InvalidZtoc: it is not; the message names it and its layer.
        IntegrityError, SourceError: it could not be read, or its bytes are not those of its digest.
    """
    layer = pair.layer
    data = fetch_ztoc(source, pair.ztoc)
    head = source.fetch_range(layer, 0, min(MAX_HEADER_BYTES, layer.size))
    try:
        info = decode_compression_info(data)
        build_tool = decode_build_tool(data)
        left_out = check_ztoc(data, head=head)
    except InvalidZtoc as error:
        raise InvalidZtoc(f"{pair}: {error}") from None
    facts = (
        ("compression", info.algorithm, algorithm_of(layer)),
        ("bytes of layer", info.spans[-1].end if info.spans else 0, layer.size),
        ("span size in bytes", info.span_size_bytes, settings.span_size_bytes),
        ("build tool", build_tool, settings.build_tool_identifier),
    )
    for what, got, want in facts:
        if got != want:
            raise InvalidZtoc(f"{pair}: {what}: it has {got}, want {want}")
    if left_out is not None:
        raise InvalidZtoc(f"{pair}: a lazy reader refuses it: {left_out}")


def read_middle_span(source: ImageSource, pair: LayerAndZtoc) -> None:
    """Fetch a zTOC and read the span in its middle as a lazy reader does: by range, hashed, inflated.

    Raises:
        InvalidZtoc, DigestMismatch, SizeMismatch: the layer cannot be read through it.
        SourceError: one of them could not be fetched.
    """
    info = decode_compression_info(fetch_ztoc(source, pair.ztoc))
    reader = SpanReader(
        info, lambda start, end: source.fetch_range(pair.layer, start, end), name=f"layer {pair.layer.digest}"
    )
    if info.spans:
        for _ in reader.read_span(len(info.spans) // 2):
            pass
