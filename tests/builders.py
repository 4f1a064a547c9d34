"""Builders for test data: a tar, a gzip file of any kind, a zTOC, an image, a layout.

A test then reads like this:

    layer = gzip_of(tar_of(file("a", b"x"), symlink("b", "a")), level=1, members=3)
    image = image_of(layer, platform="linux/arm64")
    layout_of(tmp_path, with_soci_index(image), tag="1.0")
"""

from __future__ import annotations

import contextlib
import json
import random
import struct
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import zstandard

from soci.errors import BlobMissing
from soci.layer.inflate import Engine
from soci.oci import annotations as keys
from soci.oci import media_types
from soci.oci.compression import Compression
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest, digest_of
from soci.oci.integrity import check_content
from soci.oci.manifest import ImageIndex, ImageManifest
from soci.oci.platform import Platform
from soci.reasons import LeftOut
from soci.ztoc.indexer import PIECE_BYTES, LayerIndexer
from soci.ztoc.model import IndexedLayer, LayerTask

BUILD_TOOL = "AWS SOCI CLI v0.2"


# --- tar ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Member:
    """One entry of a tar; `data` follows the header whatever the header's type and size."""

    info: tarfile.TarInfo
    data: bytes = b""


def file(name: str, data: bytes = b"", **fields: Any) -> Member:
    """A regular file. Fields are those of `tarfile.TarInfo` (mode, uid, ...) and `pax`, a map of records."""
    return special(name, tarfile.REGTYPE, data=data, **fields)


def directory(name: str, **fields: Any) -> Member:
    return special(name, tarfile.DIRTYPE, **{"mode": 0o755, **fields})


def symlink(name: str, target: str, **fields: Any) -> Member:
    return special(name, tarfile.SYMTYPE, linkname=target, **{"mode": 0o777, **fields})


def hardlink(name: str, target: str, **fields: Any) -> Member:
    return special(name, tarfile.LNKTYPE, linkname=target, **fields)


def device(name: str, major: int = 1, minor: int = 3, **fields: Any) -> Member:
    return special(name, tarfile.CHRTYPE, devmajor=major, devminor=minor, **fields)


def fifo(name: str, **fields: Any) -> Member:
    return special(name, tarfile.FIFOTYPE, **fields)


def whiteout(path: str) -> Member:
    """A whiteout: it deletes the path of a lower layer."""
    folder, slash, name = path.rpartition("/")
    return file(f"{folder}{slash}.wh.{name}")


def opaque(folder: str) -> Member:
    """An opaque whiteout: it hides what lower layers have in the folder."""
    return file(f"{folder}/.wh..wh..opq")


def special(name: str, type_: bytes, *, data: bytes = b"", **fields: Any) -> Member:
    """An entry of any type; the size is that of the data unless `size` is given."""
    info = tarfile.TarInfo(name)
    info.type = type_
    info.pax_headers = dict(fields.pop("pax", {}))
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return Member(info=info, data=data)


def tar_of(*members: Member, format: Literal[0, 1, 2] = tarfile.PAX_FORMAT, end_blocks: int = 2) -> bytes:  # noqa: A002
    """Write a tar in one of tarfile's formats, with as many zero blocks at its end as asked for."""
    parts = []
    for member in members:
        header = member.info.tobuf(format, "utf-8", "surrogateescape")
        parts += [header, member.data, bytes(-len(member.data) % 512)]
    return b"".join(parts) + bytes(512 * end_blocks)


def noise(size_bytes: int, seed: str = "noise") -> bytes:
    """Bytes that do not compress, the same for the same seed."""
    return random.Random(seed).randbytes(size_bytes)  # noqa: S311 - repeatable on purpose


def text(size_bytes: int, seed: str = "text") -> bytes:
    """Bytes that compress about as well as source code, the same for the same seed."""
    words = [noise(4 + n % 9, f"{seed}{n}").hex().encode() for n in range(300)]
    chosen = random.Random(seed).choices(words, k=size_bytes // 8 + 1)  # noqa: S311 - repeatable on purpose
    return b" ".join(chosen)[:size_bytes]


# --- gzip ---------------------------------------------------------------------------------------------------


def gzip_of(
    data: bytes,
    *,
    level: int = 6,
    members: int = 1,
    strategy: int = zlib.Z_DEFAULT_STRATEGY,
    memory_level: int = 8,
    flush_at: Iterable[int] = (),
    flush_mode: int = zlib.Z_SYNC_FLUSH,
    header: bytes | None = None,
) -> bytes:
    """Compress into members of even size. Level 0 stores; strategies are zlib's (Z_FIXED, Z_RLE, ...).

    `flush_at` gives positions of the data at which the stream is flushed (0: an empty first block), `header`
    the header of every member, as `gzip_header` makes it. A low memory level makes small deflate blocks.
    """
    flushes = sorted(set(flush_at))
    step = -(-len(data) // members) if data else 0
    written = []
    for start in [n * step for n in range(members)]:
        end = min(start + step, len(data))
        deflater = zlib.compressobj(level, zlib.DEFLATED, -15, memory_level, strategy)
        at, body = start, b""
        for flush in [n for n in flushes if start <= n < end or n == start]:
            body += deflater.compress(data[at:flush]) + deflater.flush(flush_mode)
            at = flush
        body += deflater.compress(data[at:end]) + deflater.flush()
        trailer = struct.pack("<II", zlib.crc32(data[start:end]), (end - start) & 0xFFFF_FFFF)
        written.append((gzip_header() if header is None else header) + body + trailer)
    return b"".join(written)


def gzip_header(
    *, extra: bytes | None = None, name: bytes | None = None, comment: bytes | None = None, checksum: str = ""
) -> bytes:
    """Make a header with the fields given; `checksum` is "", "right" or "wrong"."""
    flags = 4 * (extra is not None) | 8 * (name is not None) | 16 * (comment is not None) | 2 * bool(checksum)
    header = bytes((0x1F, 0x8B, 8, flags, 0, 0, 0, 0, 0, 0xFF))
    if extra is not None:
        header += struct.pack("<H", len(extra)) + extra
    for words in (name, comment):
        header += b"" if words is None else words + b"\0"
    wrong = checksum == "wrong"
    return header + (struct.pack("<H", (zlib.crc32(header) & 0xFFFF) ^ wrong) if checksum else b"")


# --- zTOC ---------------------------------------------------------------------------------------------------


def index_layer(layer: bytes, **options: Any) -> IndexedLayer:
    """Build the zTOC of a layer that can be indexed. Options are those of `try_index_layer`."""
    indexed = try_index_layer(layer, **options)
    assert isinstance(indexed, IndexedLayer), indexed
    return indexed


def try_index_layer(
    layer: bytes,
    *,
    span_size_bytes: int = 65_536,
    chunk_bytes: int = 1 << 20,
    compression: Compression | None = None,
    engine: Engine | None = None,
    piece_bytes: int | None = None,
    **task: Any,
) -> IndexedLayer | LeftOut:
    """Build a layer's zTOC, fed and worked on in chunks; gzip or plain by content, unless that is given."""
    if compression is None:
        is_gzip = layer[:2] == b"\x1f\x8b"
        compression = Compression.GZIP if is_gzip else Compression.UNCOMPRESSED
    layer_task = LayerTask(
        compression=compression,
        span_size_bytes=span_size_bytes,
        build_tool_identifier=BUILD_TOOL,
        **task,
    )
    piece_bytes = piece_bytes or min(chunk_bytes, PIECE_BYTES)
    with LayerIndexer(layer_task, engine=engine, piece_bytes=piece_bytes) as indexer:
        for at in range(0, len(layer), chunk_bytes):
            indexer.feed(layer[at : at + chunk_bytes])
        return indexer.finish()


# --- images -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Image:
    """A manifest or index and all it refers to; `referrers` are further entries of a layout's index.json."""

    root: Descriptor
    blobs: Mapping[Digest, bytes] = field(repr=False)
    referrers: tuple[Descriptor, ...] = ()

    @property
    def document(self) -> bytes:
        return self.blobs[self.root.digest]

    def damaged(self, digest: Digest, data: bytes | None) -> Image:
        """The same image with other bytes under a digest; None takes the blob away."""
        others = {known: blob for known, blob in self.blobs.items() if known != digest}
        return replace(self, blobs=others if data is None else {**others, digest: data})


def describe(data: bytes | bytearray, media_type: str, **fields: Any) -> Descriptor:
    return Descriptor(media_type=media_type, digest=digest_of(data), size=len(data), **fields)


def image_of(
    *layers: bytes, platform: str = "linux/amd64", layer_types: Mapping[int, str] | None = None
) -> Image:
    """Make an image; layers are gzip or plain by content, unless `layer_types` names a type by position."""
    of = Platform.parse(platform)
    diff_ids = [str(digest_of(_uncompressed(layer))) for layer in layers]
    config = json.dumps(
        {**of.to_json(), "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    ).encode()
    types = dict(enumerate(map(_layer_type, layers))) | dict(layer_types or {})
    manifest = ImageManifest(
        config=describe(config, media_types.OCI_CONFIG),
        layers=tuple(describe(layer, types[n]) for n, layer in enumerate(layers)),
    )
    return _image_with(manifest, of, {digest_of(blob): blob for blob in (config, *layers)})


def multi_platform(*images: Image, extra: Iterable[Descriptor] = ()) -> Image:
    """Join images under one OCI index, with further entries after them."""
    entries = (*(image.root for image in images), *extra)
    document = ImageIndex(manifests=entries).encode()
    blobs = {digest: blob for image in images for digest, blob in image.blobs.items()}
    root = describe(document, media_types.OCI_INDEX)
    return Image(root=root, blobs={**blobs, root.digest: document})


def soci_index_of(
    image: Image,
    *,
    version: int = 2,
    ztocs: Mapping[int, bytes] | None = None,
    prefetch: Mapping[int, bytes] | None = None,
    skip: Iterable[int] = (),
    span_size_bytes: int = 65_536,
) -> tuple[ImageManifest, dict[Digest, bytes]]:
    """Make the SOCI index of a single image, of all its layers but those to skip, and the index's own blobs.

    `ztocs` and `prefetch` give artifacts by position of the layer, instead of or beside those that are built.
    """
    manifest = ImageManifest.parse(image.document)
    config = b"{}"
    blobs, listed = {digest_of(config): config}, []
    for number, layer in enumerate(manifest.layers or ()):
        data = image.blobs[layer.digest]
        if number in skip:
            continue
        given = (ztocs or {}).get(number)
        ztoc = bytes(index_layer(data, span_size_bytes=span_size_bytes).ztoc) if given is None else given
        of_layer = {
            keys.SOCI_IMAGE_LAYER_DIGEST: str(layer.digest),
            keys.SOCI_IMAGE_LAYER_MEDIA_TYPE: layer.media_type,
            keys.SOCI_SPAN_SIZE: str(span_size_bytes),
        }
        blobs[digest_of(ztoc)] = ztoc
        listed.append(describe(ztoc, media_types.ZTOC, annotations=of_layer))
    for number, data in (prefetch or {}).items():
        digest = (manifest.layers or ())[number].digest
        blobs[digest_of(data)] = data
        of_layer = {keys.SOCI_IMAGE_LAYER_DIGEST: str(digest)}
        listed.append(describe(data, media_types.PREFETCH, annotations=of_layer))
    is_v1 = version == 1
    soci_index = ImageManifest(
        config=describe(config, media_types.SOCI_INDEX_V1 if is_v1 else media_types.SOCI_INDEX_V2),
        layers=tuple(listed),
        subject=replace(image.root, platform=None) if is_v1 else None,
        annotations={keys.SOCI_BUILD_TOOL_IDENTIFIER: BUILD_TOOL},
    )
    return soci_index, blobs


def with_soci_index(
    image: Image,
    *,
    document: bytes | None = None,
    extra: Image | None = None,
    image_manifest_digest: Digest | None = None,
    **options: Any,
) -> Image:
    """Make the SOCI-enabled image of a single image: annotated manifest and SOCI index in an OCI index.

    `document` replaces the bytes of the SOCI index, `image_manifest_digest` what its entry says it is for.
    `extra` is another single image that goes in without an index. Options are those of `soci_index_of`.
    """
    soci_index, blobs = soci_index_of(image, **options)
    data = soci_index.encode() if document is None else document
    manifest = replace(
        ImageManifest.parse(image.document), annotations={keys.SOCI_INDEX_DIGEST: str(digest_of(data))}
    )
    others = {digest: blob for digest, blob in image.blobs.items() if digest != image.root.digest}
    annotated = _image_with(manifest, image.root.platform, {**others, **blobs, digest_of(data): data})
    annotated = replace(annotated, root=replace(annotated.root, annotations=manifest.annotations))
    entry = describe(
        data,
        media_types.OCI_MANIFEST,
        annotations={keys.SOCI_IMAGE_MANIFEST_DIGEST: str(image_manifest_digest or annotated.root.digest)},
        platform=image.root.platform,
        artifact_type=media_types.SOCI_INDEX_V2,
    )
    return multi_platform(annotated, *(() if extra is None else (extra,)), extra=(entry,))


def with_soci_v1_index(image: Image, **options: Any) -> Image:
    """Put a version 1 SOCI index beside a single image, found by its subject alone."""
    soci_index, blobs = soci_index_of(image, version=1, **options)
    data = soci_index.encode()
    entry = describe(data, media_types.OCI_MANIFEST, artifact_type=media_types.SOCI_INDEX_V1)
    all_blobs = {**image.blobs, **blobs, digest_of(data): data}
    return replace(image, blobs=all_blobs, referrers=(entry,))


class MemorySource:
    """An image source over an image in memory, with nothing but what every source can do."""

    def __init__(self, image: Image) -> None:
        self._image = image

    def fetch_root(self) -> Descriptor:
        return self._image.root

    def fetch_manifest(self, descriptor: Descriptor) -> bytes:
        data = self.fetch_range(descriptor, 0, descriptor.size + 1)
        check_content(descriptor, data)
        return data

    @contextmanager
    def open_blob(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
        yield iter((self.fetch_range(descriptor, 0, descriptor.size + 1),))

    def fetch_range(self, descriptor: Descriptor, start: int, end: int) -> bytes:
        if descriptor.digest not in self._image.blobs:
            raise BlobMissing(f"memory: no blob {descriptor.digest}")
        return self._image.blobs[descriptor.digest][start:end]

    def has_blob(self, descriptor: Descriptor) -> bool:
        return descriptor.digest in self._image.blobs


def layout_of(path: Path, image: Image, *, tag: str = "latest") -> Path:
    """Write an OCI layout with one tagged image and its referrers; returns its directory."""
    for digest, blob in image.blobs.items():
        target = path / "blobs" / digest.algorithm / digest.hex
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(blob)
    root = replace(image.root, annotations={keys.REF_NAME: tag}, platform=None)
    (path / "index.json").write_bytes(ImageIndex(manifests=(root, *image.referrers)).encode())
    (path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return path


def _image_with(manifest: ImageManifest, platform: Platform | None, blobs: Mapping[Digest, bytes]) -> Image:
    document = manifest.encode()
    root = describe(document, media_types.OCI_MANIFEST, platform=platform)
    return Image(root=root, blobs={**blobs, root.digest: document})


def _layer_type(layer: bytes) -> str:
    if layer[:4] == b"\x28\xb5\x2f\xfd":
        return media_types.OCI_LAYER_ZSTD
    return media_types.OCI_LAYER_GZIP if layer[:2] == b"\x1f\x8b" else media_types.OCI_LAYER


def _uncompressed(layer: bytes) -> bytes:
    """The layer as a plain tar; what does not decompress stays as it is."""
    if layer[:4] == b"\x28\xb5\x2f\xfd":
        with contextlib.suppress(zstandard.ZstdError):
            return zstandard.ZstdDecompressor().decompressobj().decompress(layer)
    parts = []
    while layer[:2] == b"\x1f\x8b":
        inflater = zlib.decompressobj(31)
        try:
            parts.append(inflater.decompress(layer))
        except zlib.error:
            break
        layer = inflater.unused_data
    return b"".join(parts) or layer
