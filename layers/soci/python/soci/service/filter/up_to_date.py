"""Whether an image already has an index that was made with the same settings. No layer is read.

Version 2: the image is converted again, with the SOCI indexes of the output. If the result has the same root, then the
output is the conversion of this image, with its attestations.
Version 1: one suitable referrer of the manifest is enough.

A SOCI index must show that the settings made it: the build tool, the span size, and a zTOC for each planned layer, in
order, and no other. What decided its prefetch stands in an annotation, as a digest (docs/adr/0050). So another start
profile or none makes an index out of date, once. A layer may lack its zTOC if the profile left it whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from soci.errors import MISSING_OR_CORRUPT, IntegrityError
from soci.image.documents import Image, PlatformImage, fetch_image
from soci.index.classify import LIMITS
from soci.index.convert import PlatformIndex, convert_image, index_of_single
from soci.index.document import Document
from soci.index.manifest import CONFIG_MEDIA_TYPES
from soci.index.original import original_config
from soci.oci import media_types
from soci.oci.annotations import (
    PREFETCH_SOURCE,
    SOCI_BUILD_TOOL_IDENTIFIER,
    SOCI_DISABLE_XATTRS,
    SOCI_IMAGE_LAYER_DIGEST,
    SOCI_IMAGE_LAYER_MEDIA_TYPE,
    SOCI_INDEX_DIGEST,
    SOCI_SPAN_SIZE,
)
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.manifest import ImageManifest
from soci.places.ports import ImageSource, ReferrerSource
from soci.reasons import LeftOut
from soci.service.filter.platforms import PlannedImage
from soci.settings import IndexSettings, IndexVersion, Optimization, WholeLayers
from soci.start.prefetch_source import prefetch_source_digest


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What an index manifest must show."""

    settings: IndexSettings
    version: IndexVersion
    any_profile: bool

    def is_shown_by(
        self, data: bytes, layers: Sequence[tuple[Descriptor, bool]], profile: Digest | None
    ) -> bool:
        """Tell whether an index manifest was made with the settings and the profile, with the right zTOCs.

        That is one for each planned layer, in order, and no other. A profile may have left some whole.
        """
        try:
            index = ImageManifest.parse(data, "SOCI index")
        except IntegrityError:
            return False
        settings, entries = self.settings, index.layers or ()
        ztocs = [entry for entry in entries if entry.media_type == media_types.ZTOC]
        disables_xattrs = any(SOCI_DISABLE_XATTRS in entry.annotations for entry in ztocs)
        span_size = str(settings.span_size_bytes)
        expected = [
            (str(layer.digest), layer.media_type, span_size) for layer, is_planned in layers if is_planned
        ]
        found = [_facts_of(entry.annotations) for entry in ztocs]
        has_source = PREFETCH_SOURCE in index.annotations
        leaves_some = has_source and settings.whole_layers is WholeLayers.AUTO
        return (
            index.config.media_type == CONFIG_MEDIA_TYPES[self.version]
            and index.annotations.get(SOCI_BUILD_TOOL_IDENTIFIER) == settings.build_tool_identifier
            and (_is_part_of(found, expected) if leaves_some else found == expected)
            and disables_xattrs is (Optimization.XATTR in settings.optimizations)
            and self._is_prefetch_wanted(index.annotations.get(PREFETCH_SOURCE), profile)
            and (has_source or len(ztocs) == len(entries))  # a prefetch of unknown origin
        )

    def _is_prefetch_wanted(self, source: str | None, profile: Digest | None) -> bool:
        """Tell whether what decided the prefetch of an index is what the settings and the profile want."""
        if self.any_profile and source is not None:
            return True
        wanted = prefetch_source_digest(self.settings, profile)
        return source == (None if wanted is None else str(wanted))


def has_v2(
    output: ImageSource,
    image: Image,
    planned: Sequence[PlannedImage],
    settings: IndexSettings,
    *,
    any_profile: bool = False,
) -> bool:
    """Tell whether a place holds the SOCI-enabled image that these settings make of an image.

    With `any_profile`, one that was made with another start profile counts as well. Raises `SourceError` when the place
    cannot be read.
    """
    wanted = _Wanted(settings=settings, version=IndexVersion.V2, any_profile=any_profile)
    try:
        return _is_conversion(output, image, planned, wanted)
    except MISSING_OR_CORRUPT:
        return False


def has_v1(
    source: ImageSource,
    planned: Sequence[PlannedImage],
    settings: IndexSettings,
    *,
    any_profile: bool = False,
) -> bool:
    """Tell whether each planned image has an index of version 1 that refers to it.

    Zstd layers do not count: version 1 does not change an image. `any_profile` and errors as in `has_v2`.
    """
    wanted = _Wanted(settings=settings, version=IndexVersion.V1, any_profile=any_profile)
    return all(_has_referrer(source, one, wanted) for one in planned)


def _is_conversion(
    output: ImageSource, image: Image, planned: Sequence[PlannedImage], wanted: _Wanted
) -> bool:
    converted = fetch_image(output, limits=LIMITS)
    manifests = {one.descriptor.digest: one.manifest for one in image.images}
    indexes = []
    for one in planned:
        counterpart = find_counterpart(one.image, converted)
        layers = _layers_in(one, counterpart) if counterpart else None
        index = fetch_named_index(output, converted, counterpart) if counterpart else None
        if layers is None or index is None or not wanted.is_shown_by(index.data, layers, one.profile):
            return False
        digest = one.image.descriptor.digest
        manifests[digest] = replace(one.image.manifest, layers=tuple(layer for layer, _ in layers))
        indexes.append(PlatformIndex(image_manifest=digest, platform=one.image.platform, index=index))
    return converted_root(image, manifests, indexes) == converted.root.digest


def converted_root(
    image: Image, manifests: Mapping[Digest, ImageManifest], indexes: Sequence[PlatformIndex]
) -> Digest:
    """Convert an image and return the digest of its new root; `manifests` may have recompressed layers."""
    base = image.index or index_of_single(image.root, image.images[0].platform)
    return convert_image(base, manifests, indexes).root.descriptor.digest


def find_counterpart(one: PlatformImage, converted: Image) -> PlatformImage | None:
    """Find the image that was made of this one in a SOCI-enabled image, by platform and config."""
    return next(
        (
            other
            for other in converted.images
            if original_config(other.manifest) == one.manifest.config.digest
            and other.platform.matches(one.platform)
        ),
        None,
    )


def _layers_in(one: PlannedImage, counterpart: PlatformImage) -> list[tuple[Descriptor, bool]] | None:
    """Return the layers that the conversion must have, each with whether it is to be indexed.

    A recompressed layer is not checked: its tar was compared with the config when it was made.
    """
    there = counterpart.manifest.layers or ()
    if len(there) != len(one.layers):
        return None
    found = []
    for planned, layer in zip(one.layers, there, strict=True):
        is_planned = not isinstance(planned.decision, LeftOut)
        is_copy = planned.is_recompressed
        if is_copy and layer.media_type != media_types.as_gzip(planned.descriptor.media_type):
            return None
        found.append((layer if is_copy else planned.descriptor, is_planned))
    return found


def fetch_named_index(output: ImageSource, converted: Image, counterpart: PlatformImage) -> Document | None:
    """Fetch the SOCI index that an image manifest names."""
    named = Digest.parse(counterpart.manifest.annotations.get(SOCI_INDEX_DIGEST, ""))
    entries = (converted.index.manifests if converted.index else None) or ()
    entry = next((entry for entry in entries if entry.digest == named), None)
    if entry is None:
        return None
    plain = Descriptor(
        media_type=entry.media_type,
        digest=entry.digest,
        size=entry.size,
        artifact_type=CONFIG_MEDIA_TYPES[IndexVersion.V2],
    )
    return Document(descriptor=plain, data=output.fetch_manifest(entry))


def _has_referrer(source: ImageSource, one: PlannedImage, wanted: _Wanted) -> bool:
    layers = [
        (planned.descriptor, not (isinstance(planned.decision, LeftOut) or planned.is_recompressed))
        for planned in one.layers
    ]
    if not any(is_planned for _, is_planned in layers):
        return True
    if not isinstance(source, ReferrerSource):
        return False
    referrers = source.fetch_referrers(one.image.descriptor.digest, media_types.SOCI_INDEX_V1)
    return any(
        wanted.is_shown_by(data, layers, one.profile) for data in _fetch_those_there(source, referrers)
    )


def _fetch_those_there(source: ImageSource, documents: Sequence[Descriptor]) -> Iterator[bytes]:
    for document in documents:
        try:
            yield source.fetch_manifest(document)
        except MISSING_OR_CORRUPT:
            continue


def _is_part_of(found: Sequence[object], expected: Sequence[object]) -> bool:
    """Tell whether all that was found is expected, in this order."""
    rest = iter(expected)
    return all(one in rest for one in found)


def _facts_of(annotations: Mapping[str, str]) -> tuple[str | None, ...]:
    keys = (SOCI_IMAGE_LAYER_DIGEST, SOCI_IMAGE_LAYER_MEDIA_TYPE, SOCI_SPAN_SIZE)
    return tuple(map(annotations.get, keys))
