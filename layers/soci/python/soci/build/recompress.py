"""Layers that are written anew as gzip: compressed, indexed and uploaded in one pass.

Zstd layers are recompressed; each is read once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from soci.build.layer import RecompressedLayer
from soci.build.plan import plan_task
from soci.errors import DigestMismatch
from soci.layer.compress import TarCompressor
from soci.layer.zstd import decompress_zstd
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
    """A new layer whose bytes are uploaded. The layer appears in the destination with `commit`."""

    layer: RecompressedLayer
    diff_id: Digest
    """The digest of the tar in the layer that it stands for."""
    upload: Upload

    def check_diff_id(self, expected: Digest) -> None:
        """Raise DigestMismatch unless the image's config lists this tar."""
        if self.diff_id != expected:
            raise DigestMismatch(
                f"layer {self.layer.of} unpacks to {self.diff_id}, the image's config says {expected}"
            )

    def commit(self, sink: ArtifactSink, descriptor: Descriptor) -> None:
        """Let the layer appear, unless it is there already. The descriptor is that of the new layer."""
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
    outcome, diff_id, upload = compress_and_index(decompress_zstd(checked(layer, chunks)), sink, settings)
    if isinstance(outcome, LeftOut):
        upload.abort()
        return outcome, None
    made = RecompressedLayer(of=layer.digest, digest=outcome.layer_digest, size=outcome.compressed_bytes)
    return outcome, Recompression(layer=made, diff_id=diff_id, upload=upload)


def compress_and_index(
    tar: Iterable[bytes],
    sink: ArtifactSink,
    settings: IndexSettings,
    *,
    front: Iterable[bytes] | None = None,
) -> tuple[IndexedLayer | LeftOut, Digest, Upload]:
    """Compress a tar to gzip, index the gzip and upload it. `front` stands before it, if there is one.

    Returns the zTOC or why there is none, the digest of the tar, and the upload, which the caller commits or aborts.
    Raises what iterating the tar raises, and `SourceError` if the gzip could not be written.
    """
    upload = sink.start_upload()
    try:
        compressor = TarCompressor(tar, level=settings.gzip_level, front=front)
        with LayerIndexer(plan_task(settings, Compression.GZIP)) as indexer:
            for piece in compressor:
                indexer.feed(piece)
                upload.write(piece)
            return indexer.finish(), compressor.diff_id, upload
    except BaseException:
        upload.abort()
        raise
