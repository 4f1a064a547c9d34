"""The index.json of an OCI layout: choosing an entry, adding and removing one.

Pure. See the OCI image spec, image-layout.md, "index.json file".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from soci.errors import InvalidReference, NotInImage
from soci.oci import gojson, media_types
from soci.oci.annotations import CONTAINERD_IMAGE_NAME, REF_NAME
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.fields import fold_key
from soci.oci.manifest import INDEX_LIMIT_BYTES, ImageIndex
from soci.oci.reference import full_image_name

INDEX_JSON = "index.json"
EMPTY_INDEX_JSON = b'{"schemaVersion":2,"manifests":[]}'

_TAGS_SHOWN = 20


def choose_entry(index: ImageIndex, tag: str | None, place: str) -> Descriptor:
    """Return the entry with this tag; without a tag, the only image.

    A tag is an entry's ref.name, or the full name that Docker and containerd write beside it. Entries with an
    artifact type but no tag (SOCI indexes of version 1) are no images; neither is the list of an interrupted
    removal. Raises `NotInImage`, with the tags in the message.
    """
    entries = index.manifests or ()
    if tag is None:
        chosen = [entry for entry in entries if _may_be_image(entry)]
        wanted = "a single image"
    else:
        chosen = [entry for entry in entries if _ref_name(entry) == tag] or _with_image_name(entries, tag)
        wanted = f"one image with tag {tag!r}"
    count = len({entry.digest for entry in chosen})  # one image may have several tags
    if count != 1:
        raise NotInImage(f"{place}: expected {wanted}, found {count or 'none'}; tags: {_tags_shown(entries)}")
    return chosen[0]


def with_root(index_json: bytes, descriptor: Descriptor, tag: str | None, where: str) -> bytes:
    """Return index.json with another entry point. All other entries stay as they are, with unknown fields.

    A tag moves: the entry that had it is replaced. Without a tag, nothing changes if the digest has an entry.
    """
    entries = ImageIndex.parse(index_json, where).manifests or ()
    if tag is None and any(entry.digest == descriptor.digest for entry in entries):
        return index_json
    document = cast("dict[str, Any]", gojson.decode(index_json, where, limit_bytes=INDEX_LIMIT_BYTES))
    key = next((key for key in reversed(document) if fold_key(key) == "manifests"), "manifests")
    replaced = [i for i, entry in enumerate(entries) if tag is not None and _ref_name(entry) == tag]
    written = [raw for i, raw in enumerate(document.get(key) or []) if i not in replaced]
    written.insert(replaced[0] if replaced else len(written), _root_entry(descriptor, tag).to_json())
    return gojson.encode(document | {key: written})


def without_tag(index_json: bytes, tag: str, where: str) -> bytes:
    """Return index.json without the entry of one tag. Other entries of its digest stay."""
    return _without(index_json, where, lambda entry: _ref_name(entry) == tag)


def without_root(index_json: bytes, digest: Digest, where: str) -> bytes:
    """Return index.json without the entries of one digest."""
    return _without(index_json, where, lambda entry: entry.digest == digest)


def ref_name(entry: Descriptor) -> str | None:
    """Return the tag of an entry; None without one."""
    return _ref_name(entry) or None


def _without(index_json: bytes, where: str, is_removed: Callable[[Descriptor], bool]) -> bytes:
    entries = ImageIndex.parse(index_json, where).manifests or ()
    if not any(map(is_removed, entries)):
        return index_json
    document = cast("dict[str, Any]", gojson.decode(index_json, where, limit_bytes=INDEX_LIMIT_BYTES))
    key = next((key for key in reversed(document) if fold_key(key) == "manifests"), "manifests")
    kept = [raw for entry, raw in zip(entries, document[key], strict=True) if not is_removed(entry)]
    return gojson.encode(document | {key: kept})


def _root_entry(descriptor: Descriptor, tag: str | None) -> Descriptor:
    return Descriptor(
        media_type=descriptor.media_type,
        digest=descriptor.digest,
        size=descriptor.size,
        annotations={} if tag is None else {REF_NAME: tag},
        artifact_type=descriptor.artifact_type,
    )


def _may_be_image(entry: Descriptor) -> bool:
    has_tag = bool(_tag_of(entry)) and entry.artifact_type != media_types.REMOVAL
    return has_tag or not entry.artifact_type


def _with_image_name(entries: Sequence[Descriptor], tag: str) -> list[Descriptor]:
    try:
        name = full_image_name(tag)
    except InvalidReference:
        return []
    return [entry for entry in entries if entry.annotations.get(CONTAINERD_IMAGE_NAME) == name]


def _ref_name(entry: Descriptor) -> str:
    return entry.annotations.get(REF_NAME, "")


def _tag_of(entry: Descriptor) -> str:
    return entry.annotations.get(CONTAINERD_IMAGE_NAME) or _ref_name(entry)


def _tags_shown(entries: Sequence[Descriptor]) -> str:
    tags = sorted({tag for entry in entries if (tag := _tag_of(entry))})
    more = f" and {len(tags) - _TAGS_SHOWN} more" if len(tags) > _TAGS_SHOWN else ""
    return (", ".join(tags[:_TAGS_SHOWN]) or "none") + more
