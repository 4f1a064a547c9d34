"""`soci-index ztoc`: build the zTOC of one layer file."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer

from soci.build.plan import plan_task
from soci.cli.options import BuildToolOption, JsonOption, MultiMemberOption, SpanSizeOption
from soci.cli.reports import indexed_document, reason_document
from soci.cli.streams import check_output, input_name, open_input, write_file
from soci.cli.terminal import byte_bar, count_text, print_error, print_json, print_lines, size_text
from soci.errors import DamagedLayer, SizeMismatch
from soci.oci.compression import Compression, detect_compression
from soci.places.layout.extents import CHUNK_BYTES, storage_errors
from soci.reasons import LeftOut, Reason
from soci.settings import (
    DEFAULT_BUILD_TOOL_IDENTIFIER,
    DEFAULT_SPAN_SIZE_BYTES,
    IndexSettings,
    MultiMember,
)
from soci.ztoc.indexer import LayerIndexer
from soci.ztoc.model import IndexedLayer, LayerTask


def ztoc(
    layer: Annotated[
        Path, typer.Argument(metavar="LAYER", help="A layer, gzip or plain tar; - is standard input.")
    ],
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the zTOC to this file.")
    ] = None,
    compression: Annotated[
        Literal["gzip", "none"] | None,
        typer.Option(help="Compression of the layer. Without it the first bytes decide."),
    ] = None,
    span_size: SpanSizeOption = DEFAULT_SPAN_SIZE_BYTES,
    build_tool: BuildToolOption = DEFAULT_BUILD_TOOL_IDENTIFIER,
    multi_member: MultiMemberOption = MultiMember.INDEX,
    as_json: JsonOption = False,
) -> None:
    """Build the zTOC of one layer."""
    settings = IndexSettings(
        span_size_bytes=span_size, build_tool_identifier=build_tool, multi_member=multi_member
    )
    check_output(output)
    started = time.perf_counter()
    with open_input(layer) as file:
        chunks = _chunks(layer, file.read)
        first = next(chunks, b"")
        if not first:
            raise SizeMismatch(f"{layer} is empty, so it is not a layer")
        found = Compression(compression) if compression else detect_compression(first)
        outcome = (
            LeftOut(reason=Reason.ZSTD)
            if found is Compression.ZSTD
            else _index(layer, plan_task(settings, found), itertools.chain((first,), chunks))
        )
    if isinstance(outcome, LeftOut):
        if as_json:
            print_json({"digest": None, **reason_document(outcome)})
        print_error(f"{layer}: no zTOC. {outcome}")
        raise typer.Exit(1)
    if output is not None:
        write_file(output, outcome.ztoc)
    seconds = time.perf_counter() - started
    if as_json:
        print_json(_document(outcome, seconds=seconds, output=output))
    else:
        print_lines(_lines(outcome, seconds=seconds, output=output))


def _index(layer: Path, task: LayerTask, chunks: Iterator[bytes]) -> IndexedLayer | LeftOut:
    total_bytes = layer.stat().st_size if layer.is_file() else None
    try:
        with byte_bar(str(layer), total_bytes) as advance, LayerIndexer(task) as indexer:
            for chunk in chunks:
                indexer.feed(chunk)
                advance(len(chunk))
            return indexer.finish()
    except DamagedLayer as error:
        raise type(error)(f"{layer}: {error}") from None


def _chunks(path: Path, read: Callable[[int], bytes]) -> Iterator[bytes]:
    while True:
        with storage_errors(input_name(path)):
            chunk = read(CHUNK_BYTES)
        if not chunk:
            return
        yield chunk


def _document(indexed: IndexedLayer, *, seconds: float, output: Path | None) -> dict[str, object]:
    return {
        **indexed_document(indexed, seconds),
        "layer_digest": str(indexed.layer_digest),
        "compressed_bytes": indexed.compressed_bytes,
        "uncompressed_bytes": indexed.uncompressed_bytes,
        "output": None if output is None else str(output),
    }


def _lines(indexed: IndexedLayer, *, seconds: float, output: Path | None) -> list[str]:
    facts = {
        "zTOC": f"{indexed.digest}",
        "size": f"{size_text(len(indexed.ztoc))} for {count_text(indexed.files, 'file')} "
        f"in {count_text(indexed.spans, 'span')}",
        "layer": f"{indexed.layer_digest}",
        "read": f"{size_text(indexed.compressed_bytes)}, {size_text(indexed.uncompressed_bytes)} unpacked, "
        f"in {seconds:.2f} s",
        "written": "nowhere; -o FILE writes it" if output is None else str(output),
    }
    return [f"{name:8} {value}" for name, value in facts.items()]
