"""Image configs: the fields that indexing needs (OCI image spec, config.md)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from soci.errors import InvalidDocument
from soci.oci import gojson
from soci.oci.digest import Digest
from soci.oci.fields import Fields
from soci.oci.platform import Platform

CONFIG_LIMIT_BYTES = 8 * 1024 * 1024
"""Registries do not limit the size of a config. Long histories and labels reach some hundred KiB. This limit
leaves room for ten times that, and still fits in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """An image's platform, not normalized, and the digest of each layer's uncompressed tar."""

    platform: Platform
    diff_ids: tuple[Digest, ...]

    @classmethod
    def parse(cls, data: bytes, what: str = "image config") -> ImageConfig:
        """Parse a config. `what` names it in messages. Raises `InvalidDocument`, which names the bad field."""
        fields = Fields(gojson.decode(data, what, limit_bytes=CONFIG_LIMIT_BYTES), what)
        rootfs = fields.optional_child("rootfs")
        return cls(
            platform=Platform.from_json(fields),
            diff_ids=() if rootfs is None else rootfs.digests("diff_ids"),
        )


def replace_diff_ids(data: bytes, diff_ids: Sequence[Digest], what: str = "image config") -> bytes:
    """Return a config with other diff IDs. All other bytes stay: unknown fields, their order, the white space.

    Raises:
        InvalidDocument: the config has another number of layers, or does not say once which they are.
    """
    old = ImageConfig.parse(data, what).diff_ids
    if len(old) != len(diff_ids):
        raise InvalidDocument(f"{what}: {len(old)} diff_ids for {len(diff_ids)} layers")
    text = data.decode("utf-8", "surrogateescape")
    new = text
    for (start, end), digest in reversed(list(zip(_diff_id_places(text), diff_ids, strict=False))):
        new = f'{new[:start]}"{digest}"{new[end:]}'
    result = new.encode("utf-8", "surrogateescape")
    if ImageConfig.parse(result, what).diff_ids != tuple(diff_ids):  # keys in other cases, or twice
        raise InvalidDocument(
            f"{what}: rootfs.diff_ids cannot be replaced, the config has it twice or misspelled"
        )
    return result


def _diff_id_places(text: str) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each string in rootfs.diff_ids of a valid config."""
    for start, _ in _places(text, 0, "rootfs"):
        if text[start] == "{":
            for list_start, _ in _places(text, start, "diff_ids"):
                if text[list_start] == "[":
                    yield from _places(text, list_start)


def _places(text: str, at: int, wanted: str | None = None) -> Iterator[tuple[int, int]]:
    """Yield start and end of the values in the JSON list at a position, or of an object's values with this key."""
    decode = json.JSONDecoder().raw_decode
    at = _behind_space(text, at) + 1
    while text[at := _behind_space(text, at)] not in "]}":
        key = wanted
        if wanted is not None:
            key, at = decode(text, at)
            at = _behind_space(text, _behind_space(text, at) + 1)
        _, end = decode(text, at)
        if key == wanted:
            yield at, end
        at = _behind_space(text, end)
        at += text[at] == ","


def _behind_space(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at
