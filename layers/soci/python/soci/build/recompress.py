"""Gzip copies of zstd layers: read once, copied, indexed and written all in one pass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from soci.build.plan import plan_task
from soci.errors import DigestMismatch, InvalidDocument
from soci.layer.recompress import GzipCopy
from soci.oci import media_types
from soci.oci.compression import Compression
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.image_config import ImageConfig
from soci.oci.integrity import checked
from soci.oci.manifest import ImageManifest
from soci.places.ports import ArtifactSink, ImageSource, Upload
from soci.reasons import LeftOut
from soci.settings import IndexSettings
from soci.ztoc.indexer import LayerIndexer
from soci.ztoc.model import IndexedLayer

_CHUNKED_ANNOTATIONS = "io.github.containers.zstd-chunked."
"""These describe the zstd bytes, which a copy does not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCopy:
    """A gzip copy of a zstd layer: what there is to say of it, wherever its bytes are by now."""

    of: Digest
    """The zstd layer."""
    digest: Digest
    size: int

    def describe(self, layer: Descriptor) -> Descriptor:
        """Return what stands for a layer in the converted image."""
        kept = {
            key: value for key, value in layer.annotations.items() if not key.startswith(_CHUNKED_ANNOTATIONS)
        }
        return replace(
            layer,
            media_type=media_types.as_gzip(layer.media_type),
            digest=self.digest,
            size=self.size,
            annotations=kept,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenCopy:
    """A copy whose bytes are written, but are not there under their digest before `commit`."""

    copy: LayerCopy
    diff_id: Digest
    """Of the tar inside, the same as that of the layer copied."""
    upload: Upload

    def check_diff_id(self, expected: Digest) -> None:
        """Raise DigestMismatch unless the tar inside is the one that the image's config lists."""
        check_diff_id(self.copy.of, self.diff_id, expected)

    def commit(self, sink: ArtifactSink, layer: Descriptor) -> None:
        """Let the copy appear, unless an equal one is there; `layer` describes it."""
        if sink.has_blob(layer):
            self.upload.abort()
        else:
            self.upload.commit(self.copy.digest)


def copy_and_index(
    layer: Descriptor, chunks: Iterable[bytes], sink: ArtifactSink, settings: IndexSettings
) -> tuple[IndexedLayer | LeftOut, WrittenCopy | None]:
    """Copy a zstd layer to gzip and index the copy; None for a copy that would not be indexed.

    Raises:
        DamagedLayer, IntegrityError: the layer is damaged or not what its descriptor says.
        SourceError: it could not be read, or the copy could not be written.
    """
    upload = sink.start_upload()
    try:
        copy = GzipCopy(checked(layer, chunks), level=settings.gzip_level)
        with LayerIndexer(plan_task(settings, Compression.GZIP)) as indexer:
            for piece in copy:
                indexer.feed(piece)
                upload.write(piece)
            outcome = indexer.finish()
    except BaseException:
        upload.abort()
        raise
    if isinstance(outcome, LeftOut):
        upload.abort()
        return outcome, None
    made = LayerCopy(
        of=layer.digest,
        digest=outcome.layer_digest,
        size=outcome.compressed_bytes,
    )
    return outcome, WrittenCopy(copy=made, diff_id=copy.diff_id, upload=upload)


def check_diff_id(layer: Digest, found: Digest, expected: Digest) -> None:
    """Raise DigestMismatch unless a layer unpacks to what the image's config says."""
    if found != expected:
        raise DigestMismatch(f"layer {layer} unpacks to {found}, the image's config says {expected}")


def fetch_diff_ids(source: ImageSource, manifest: ImageManifest) -> tuple[Digest, ...]:
    """Return what an image's config says of each of its layers: the digest of the tar inside.

    Raises:
        InvalidDocument: the config lists another number of layers.
        SourceError: it could not be read.
    """
    what = f"config {manifest.config.digest}"
    diff_ids = ImageConfig.parse(source.fetch_manifest(manifest.config), what).diff_ids
    if len(diff_ids) != len(layers := manifest.layers or ()):
        raise InvalidDocument(f"{what}: {len(diff_ids)} diff_ids for {len(layers)} layers")
    return diff_ids
