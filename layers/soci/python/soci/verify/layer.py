"""Check a layer with its zTOCs: spans, prefetch artifacts and, on request, files."""

from __future__ import annotations

from dataclasses import dataclass

from soci.image.filesystem import shown
from soci.image.indexed import fetch_head, fetch_ztoc, open_spans
from soci.index.prefetch import fetch_prefetch
from soci.oci.annotations import SOCI_SPAN_SIZE
from soci.oci.descriptor import Descriptor
from soci.oci.integrity import check_chunks, checked
from soci.places.ports import ImageSource
from soci.verify.contents import FileHasher, TarContents, differences, read_contents
from soci.verify.report import Findings
from soci.ztoc.checks import check_ztoc
from soci.ztoc.decode import decode_ztoc
from soci.ztoc.model import Ztoc

MAX_ERRORS_PER_ZTOC = 20
"""A zTOC of another layer has an error in each span and file. The first ones are enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerArtifacts:
    """A layer's zTOC and prefetch artifacts in one SOCI index."""

    ztoc: Descriptor
    prefetch: tuple[Descriptor, ...] = ()


def verify_layer(
    source: ImageSource,
    layer: Descriptor,
    artifacts: tuple[LayerArtifacts, ...],
    findings: Findings,
    *,
    compare_files: bool,
) -> None:
    """Check a layer's blob, then its artifacts."""
    truth: TarContents | None = None
    with findings.collecting(f"layer {layer.digest}"):
        with source.open_blob(layer) as pieces:
            if compare_files and artifacts:
                truth = read_contents(checked(layer, pieces))
            else:
                check_chunks(layer, pieces)
        findings.count(blobs=1, bytes=layer.size)
    for one in artifacts:
        _ZtocVerifier(source, layer, findings).run(one, truth)


class _ZtocVerifier:
    def __init__(self, source: ImageSource, layer: Descriptor, findings: Findings) -> None:
        self._source = source
        self._layer = layer
        self._findings = findings
        self._where = ""
        self._allowed_errors = findings.error_count + MAX_ERRORS_PER_ZTOC

    def run(self, artifacts: LayerArtifacts, truth: TarContents | None) -> None:
        """Check the zTOC from the outside in. A broken part ends the check of the parts inside it."""
        self._where = f"zTOC {artifacts.ztoc.digest} of layer {self._layer.digest}"
        with self._findings.collecting(self._where):
            data = fetch_ztoc(self._source, artifacts.ztoc)
            self._findings.count(blobs=1, bytes=len(data), ztocs=1)
            ztoc = decode_ztoc(data)
            self._verify_prefetch(artifacts.prefetch, len(ztoc.compression.spans))
            before = self._findings.error_count
            self._verify_rules(artifacts.ztoc, data, ztoc)
            digests = self._verify_spans(ztoc)
            if truth is not None and self._findings.error_count == before:
                self._verify_files(ztoc, digests, truth)

    def _verify_rules(self, descriptor: Descriptor, data: bytes, ztoc: Ztoc) -> None:
        if ztoc.compressed_archive_size != self._layer.size:
            self._error(
                f"it is for a layer of {ztoc.compressed_archive_size} bytes, this one has {self._layer.size}"
            )
        span_size = descriptor.annotations.get(SOCI_SPAN_SIZE)
        if span_size is not None and span_size != str(ztoc.compression.span_size_bytes):
            self._error(f"span size {ztoc.compression.span_size_bytes}, the index says {span_size[:40]}")
        left_out = check_ztoc(data, head=fetch_head(self._source, self._layer))
        if left_out is not None:
            self._error(f"a lazy reader refuses it: {left_out}")

    def _verify_spans(self, ztoc: Ztoc) -> list[bytes]:
        """Read every span. Return the digests of the files in them."""
        hasher = FileHasher()
        hasher.add(ztoc.files)
        reader = open_spans(self._source, self._layer, ztoc.compression)
        for number, span in enumerate(ztoc.compression.spans):
            if self._is_enough():
                break
            with self._findings.collecting(self._where):
                position = span.uncompressed_start
                for piece in reader.read_span(number):
                    hasher.feed(position, piece)
                    position += len(piece)
                self._findings.count(spans=1)
        return hasher.digests

    def _verify_files(self, ztoc: Ztoc, digests: list[bytes], truth: TarContents) -> None:
        if truth.left_out is not None:
            self._error(f"a zTOC cannot express this layer: {truth.left_out}")
            return
        if ztoc.uncompressed_archive_size != truth.tar_bytes:
            self._error(f"{ztoc.uncompressed_archive_size} bytes of tar, it has {truth.tar_bytes}")
        if len(ztoc.files) != len(truth.entries):
            self._error(f"{len(ztoc.files)} entries, the tar has {len(truth.entries)}")
        for entry, what in differences(ztoc.files, digests, truth):
            if self._is_enough():
                return
            self._findings.error(f"file {shown(entry.name)} of layer {self._layer.digest}", what)
        self._findings.count(files=len(digests))

    def _verify_prefetch(self, artifacts: tuple[Descriptor, ...], span_count: int) -> None:
        for artifact in artifacts:
            with self._findings.collecting(
                f"prefetch artifact {artifact.digest} of layer {self._layer.digest}"
            ):
                fetch_prefetch(self._source, artifact, span_count=span_count)
                self._findings.count(blobs=1, bytes=artifact.size)

    def _error(self, what: str) -> None:
        self._findings.error(self._where, what)

    def _is_enough(self) -> bool:
        """Tell whether the zTOC has too many errors to go on. Reports that once."""
        if self._findings.error_count == self._allowed_errors:
            self._error(f"{MAX_ERRORS_PER_ZTOC} errors; the rest was not checked")
        return self._findings.error_count > self._allowed_errors
