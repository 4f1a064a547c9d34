"""`soci-index inspect`: the parts of an image, a SOCI index or a zTOC file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from soci.cli.inspect_start import (
    prefetch_document,
    prefetch_line,
    pushed_profile_document,
    pushed_profile_lines,
    ztoc_beside,
)
from soci.cli.options import JsonOption
from soci.cli.terminal import count_text, print_json, print_lines, print_table, short, size_text
from soci.errors import InvalidZtoc
from soci.image.documents import PlatformImage, fetch_image
from soci.image.filesystem import shown
from soci.image.indexed import find_soci_index, prefetches_of, ztocs_of
from soci.oci import media_types
from soci.oci.annotations import (
    DOCKER_REFERENCE_TYPE,
    PREFETCH_SOURCE,
    SOCI_BUILD_TOOL_IDENTIFIER,
    SOCI_DISABLE_XATTRS,
    SOCI_IMAGE_LAYER_DIGEST,
    SOCI_SPAN_SIZE,
)
from soci.oci.descriptor import Descriptor
from soci.oci.digest import digest_of
from soci.oci.manifest import ImageManifest
from soci.oci.reference import parse_reference
from soci.places.layout.extents import storage_errors
from soci.places.open import open_source
from soci.places.ports import ImageSource
from soci.ztoc.decode import decode_ztoc
from soci.ztoc.model import MAX_ZTOC_BYTES

Document = dict[str, Any]
"""A JSON object. Users of `--json` rely on its keys."""


def inspect(
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="An image, a SOCI index by digest, or a zTOC file.")
    ],
    *,
    files: Annotated[bool, typer.Option("--files", help="List the files of a zTOC.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the parts of an image, a SOCI index or a zTOC file."""
    if ":" not in target or Path(target).is_file():
        document = _ztoc_document(Path(target))
    else:
        document = _reference_document(open_source(parse_reference(target)))
    if as_json:
        print_json(document)
    else:
        _print(document, files=files)


def _ztoc_document(path: Path) -> Document:
    """Describe a zTOC file. Raises `StorageError`, `InvalidZtoc`."""
    with storage_errors(path):
        if path.stat().st_size > MAX_ZTOC_BYTES:
            raise InvalidZtoc(f"{path} has {path.stat().st_size} bytes, a zTOC at most {MAX_ZTOC_BYTES}")
        with path.open("rb") as file:
            data = file.read(MAX_ZTOC_BYTES)  # a device has no size and may never end
    if not data:
        raise InvalidZtoc(f"{path} is not a zTOC: it is empty")
    try:
        ztoc = decode_ztoc(data)
    except InvalidZtoc as error:
        raise InvalidZtoc(f"{path} is not a zTOC: {error}") from None
    return {
        "kind": "ztoc",
        "digest": str(digest_of(data)),
        "size_bytes": len(data),
        "version": ztoc.version,
        "build_tool_identifier": ztoc.build_tool_identifier,
        "compression": ztoc.compression.algorithm.name.lower(),
        "compressed_bytes": ztoc.compressed_archive_size,
        "uncompressed_bytes": ztoc.uncompressed_archive_size,
        "span_size_bytes": ztoc.compression.span_size_bytes,
        "spans": [
            {
                "start": span.start,
                "end": span.end,
                "uncompressed_start": span.uncompressed_start,
                "uncompressed_end": span.uncompressed_end,
                "digest": str(span.digest),
            }
            for span in ztoc.compression.spans
        ],
        "files": [
            {
                "name": shown(file.name),
                "type": file.type,
                "offset": file.uncompressed_offset,
                "size_bytes": file.uncompressed_size,
                "link": shown(file.link_name) or None,
                "mode": file.mode,
                "uid": file.uid,
                "gid": file.gid,
                "modified": file.mod_time,
                "xattrs": {shown(key): shown(value) for key, value in file.xattrs},
            }
            for file in ztoc.files
        ],
    }


def _reference_document(source: ImageSource) -> Document:
    """Describe an image or a SOCI index. Raises `SourceError`, `IntegrityError`."""
    root = source.fetch_root()
    if not media_types.is_index(root.media_type):
        manifest = ImageManifest.parse(source.fetch_manifest(root), f"manifest {root.digest}")
        if media_types.is_soci_config(manifest.config.media_type):
            return _soci_index_document(source, root, manifest)
    image = fetch_image(source)
    documents: list[Document] = []
    for one in image.images:
        index = find_soci_index(source, image, one)
        soci_index = None
        if index is not None:
            soci_index = ImageManifest.parse(source.fetch_manifest(index), f"SOCI index {index.digest}")
        documents.append(
            _image_document(one, index, soci_index, source)
            | {"profile": pushed_profile_document(source, one)}
        )
    return {
        "kind": "image",
        "digest": str(root.digest),
        "media_type": root.media_type,
        "images": documents,
        "other_entries": [
            {
                "digest": str(entry.digest),
                "platform": str(entry.platform) if entry.platform else None,
                "type": entry.artifact_type
                or entry.annotations.get(DOCKER_REFERENCE_TYPE)
                or entry.media_type,
            }
            for entry in (image.index.manifests if image.index else None) or ()
            if entry.digest not in {one.descriptor.digest for one in image.images}
        ],
    }


def _image_document(
    one: PlatformImage, index: Descriptor | None, soci_index: ImageManifest | None, source: ImageSource
) -> Document:
    ztocs = ztocs_of(soci_index) if soci_index else {}
    prefetches = prefetches_of(soci_index) if soci_index else {}
    return {
        "platform": str(one.platform),
        "digest": str(one.descriptor.digest),
        "soci_index": None if index is None else str(index.digest),
        "layers": [
            {
                "digest": str(layer.digest),
                "media_type": layer.media_type,
                "size_bytes": layer.size,
                "ztoc": None
                if (ztoc := ztocs.get(layer.digest)) is None
                else {"digest": str(ztoc.digest), "size_bytes": ztoc.size},
                "prefetch": None
                if (prefetch := prefetches.get(str(layer.digest))) is None
                else {"digest": str(prefetch.digest), "size_bytes": prefetch.size}
                | prefetch_document(source, prefetch, ztoc),
            }
            for layer in one.manifest.layers or ()
        ],
    }


def _soci_index_document(source: ImageSource, root: Descriptor, manifest: ImageManifest) -> Document:
    ztocs = ztocs_of(manifest)
    return {
        "kind": "soci-index",
        "digest": str(root.digest),
        "version": "v1" if manifest.config.media_type == media_types.SOCI_INDEX_V1 else "v2",
        "build_tool_identifier": manifest.annotations.get(SOCI_BUILD_TOOL_IDENTIFIER),
        "subject": None if manifest.subject is None else str(manifest.subject.digest),
        "prefetch_source": manifest.annotations.get(PREFETCH_SOURCE),
        "artifacts": [
            {
                "kind": "ztoc" if entry.media_type == media_types.ZTOC else "prefetch",
                "digest": str(entry.digest),
                "size_bytes": entry.size,
                "layer": entry.annotations.get(SOCI_IMAGE_LAYER_DIGEST),
                "span_size_bytes": entry.annotations.get(SOCI_SPAN_SIZE),
                "disable_xattrs": entry.annotations.get(SOCI_DISABLE_XATTRS) == "true",
            }
            | (
                prefetch_document(source, entry, ztoc_beside(entry, ztocs))
                if entry.media_type == media_types.PREFETCH
                else {}
            )
            for entry in manifest.layers or ()
        ],
    }


def _print(document: Document, *, files: bool) -> None:
    """Print a document as text."""
    match document["kind"]:
        case "ztoc":
            _print_ztoc(document, files=files)
        case "soci-index":
            _print_soci_index(document)
        case _:
            _print_image(document)


def _print_ztoc(document: Document, *, files: bool) -> None:
    spans, entries = document["spans"], document["files"]
    print_lines(
        [
            f"zTOC {document['digest']}, {size_text(document['size_bytes'])}, version {document['version']}",
            f"built by {document['build_tool_identifier']}",
            f"layer: {document['compression']}, {size_text(document['compressed_bytes'])}",
            f"       {size_text(document['uncompressed_bytes'])} unpacked, {count_text(len(entries), 'file')}",
            f"{count_text(len(spans), 'span')} of {size_text(document['span_size_bytes'])}",
        ]
    )
    if files:
        rows = [
            (str(file["type"]), size_text(file["size_bytes"]), str(file["offset"]), str(file["name"]))
            for file in entries
        ]
        print_table(("TYPE", "SIZE", "OFFSET", "NAME"), rows, right=("SIZE", "OFFSET"))


def _print_soci_index(document: Document) -> None:
    lines = [f"SOCI index {document['digest']}, {document['version']}"]
    lines.append(f"built by {document['build_tool_identifier']}")
    if document["subject"]:
        lines.append(f"for image manifest {document['subject']}")
    print_lines(lines)
    rows = [
        (
            str(entry["kind"]),
            short(entry["digest"]),
            size_text(entry["size_bytes"]),
            str(entry["span_size_bytes"] or ""),
            str(entry["layer"]),
        )
        for entry in document["artifacts"]
    ]
    print_table(("KIND", "DIGEST", "SIZE", "SPAN SIZE", "LAYER"), rows, right=("SIZE", "SPAN SIZE"))
    print_lines(
        [
            prefetch_line(entry["layer"], entry)
            for entry in document["artifacts"]
            if entry["kind"] == "prefetch"
        ]
    )


def _print_image(document: Document) -> None:
    print_lines([f"image {document['digest']}"])
    for image in document["images"]:
        index = image["soci_index"] or "none"
        print_lines([f"{image['platform']}  manifest {image['digest']}", f"  SOCI index {index}"])
        rows = [
            (
                short(layer["digest"]),
                size_text(layer["size_bytes"]),
                short(layer["ztoc"]["digest"]) if layer["ztoc"] else "-",
                size_text(layer["ztoc"]["size_bytes"]) if layer["ztoc"] else "",
                layer["media_type"],
            )
            for layer in image["layers"]
        ]
        print_table(("LAYER", "SIZE", "ZTOC", "ZTOC SIZE", "MEDIA TYPE"), rows, right=("SIZE", "ZTOC SIZE"))
        print_lines(
            [
                prefetch_line(layer["digest"], layer["prefetch"])
                for layer in image["layers"]
                if layer["prefetch"]
            ]
        )
        print_lines(pushed_profile_lines(image["profile"]))
    print_lines([f"beside it: {entry['type']} {entry['digest']}" for entry in document["other_entries"]])
