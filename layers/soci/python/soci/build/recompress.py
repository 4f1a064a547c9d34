"""Recompression of zstd layers: each is read once, and recompressed, indexed and written in the same pass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from soci.build.layer import RecompressedLayer
from soci.build.plan import plan_task
from soci.errors import DigestMismatch
from soci.layer.recompress import Recompressor
from soci.oci.compression import Compression
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.integrity import checked
from soci.places.ports import ArtifactSink, Upload
from soci.reasons import LeftOut
from soci.settings import IndexSettings
from soci.ztoc.indexer import LayerIndexer
from soci.ztoc.model import IndexedLayer


@dataclass(frozen=True, slots=True, kw_only=True)
class Recompression:
    """A recompressed layer whose bytes are uploaded. The layer appears in the destination with `commit`."""

    layer: RecompressedLayer
    diff_id: Digest
    """The digest of the tar inside. The zstd layer has the same."""
    upload: Upload

    def check_diff_id(self, expected: Digest) -> None:
        """Raise DigestMismatch unless the image's config lists this tar."""
        if self.diff_id != expected:
            raise DigestMismatch(
                f"layer {self.layer.of} unpacks to {self.diff_id}, the image's config says {expected}"
            )

    def commit(self, sink: ArtifactSink, descriptor: Descriptor) -> None:
        """Let the layer appear, unless it is there already. The descriptor is that of the recompressed layer."""
        if sink.has_blob(descriptor):
            self.upload.abort()
        else:
            self.upload.commit(self.layer.digest)


def recompress_and_index(
    layer: Descriptor, chunks: Iterable[bytes], sink: ArtifactSink, settings: IndexSettings
) -> tuple[IndexedLayer | LeftOut, Recompression | None]:
    """Recompress a zstd layer to gzip and index the gzip. A layer that is left out has no recompression.

    Raises:
        DamagedLayer, IntegrityError: the layer is damaged or not what its descriptor says.
        SourceError: the layer could not be read, or the gzip could not be written.
    """
    upload = sink.start_upload()
    try:
        recompressor = Recompressor(checked(layer, chunks), level=settings.gzip_level)
        with LayerIndexer(plan_task(settings, Compression.GZIP)) as indexer:
            for piece in recompressor:
                indexer.feed(piece)
                upload.write(piece)
            outcome = indexer.finish()
    except BaseException:
        upload.abort()
        raise
    if isinstance(outcome, LeftOut):
        upload.abort()
        return outcome, None
    made = RecompressedLayer(of=layer.digest, digest=outcome.layer_digest, size=outcome.compressed_bytes)
    return outcome, Recompression(layer=made, diff_id=recompressor.diff_id, upload=upload)
