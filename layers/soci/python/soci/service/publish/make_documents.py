"""All documents of a publication, made from the zTOCs that a message names. Nothing is pushed here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from soci.build.assemble import (
    AssembledPlatform,
    IndexRecipe,
    LayerPart,
    assemble_converted,
    assemble_platform,
)
from soci.build.plan import plan_layers
from soci.image.documents import Image, PlatformImage
from soci.image.indexed import fetch_ztoc
from soci.index.classify import is_soci_index
from soci.index.convert import ConvertedImage
from soci.index.document import Document
from soci.index.manifest import LayerZtoc
from soci.oci.annotations import SOCI_IMAGE_MANIFEST_DIGEST
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.manifest import ImageIndex, ImageManifest
from soci.places.ports import ImageSource
from soci.reasons import LeftOut
from soci.service.publish.check_ztocs import LayerAndZtoc, check_as_planned, for_each
from soci.service.publish.match_plan import PlatformLayers
from soci.service.publish.read_back import Bound
from soci.service.settings.configuration import Index
from soci.settings import IndexSettings, IndexVersion, ZstdLayers
from soci.start.prefetch_source import UsedProfile

_Layers = Sequence[tuple[PlatformImage, Sequence[LayerPart], UsedProfile | None]]
"""Images with their layers and start profiles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The documents of an image, per version of the index."""

    v1: tuple[AssembledPlatform, ...]
    v2: tuple[AssembledPlatform, ...]
    converted: ConvertedImage | None
    ztoc_bytes: int

    @property
    def platforms(self) -> tuple[AssembledPlatform, ...]:
        """The platforms of version 2, unless only version 1 is made."""
        return self.v2 or self.v1

    @property
    def v1_indexes(self) -> tuple[Descriptor, ...]:
        """The index manifests of version 1."""
        return tuple(one.index.descriptor for one in self.v1 if one.index)

    def bound(self) -> list[Bound]:
        """Pair each SOCI index with the image manifest that it is for."""
        v1 = [Bound(image=one.image.descriptor, index=one.index.descriptor) for one in self.v1 if one.index]
        v2 = () if self.converted is None else _bound_in(self.converted, self.v2)
        return [*v1, *(Bound(image=image.descriptor, index=index) for _, image, index in v2)]


def make_documents(
    store: ImageSource,
    image: Image,
    platforms: Sequence[PlatformLayers],
    index: Index,
    profiles: Mapping[Digest, UsedProfile],
    *,
    is_replaced: bool,
) -> Made:
    """Check the zTOCs, then make all documents. `profiles` are those of image manifests, by digest.

    `is_replaced` says that the converted image takes over the image's tag. An index of version 1 then refers to the
    converted image, because the tag no longer leads to the other one.

    Raises:
        IntegrityError, SourceError: a zTOC, or a layer that prefetch patterns need, is missing or wrong.
    """
    settings = index.settings
    v1_settings = replace(settings, zstd_layers=ZstdLayers.LEAVE_OUT)  # version 1 leaves images as they are
    used = [profiles.get(one.image.descriptor.digest) for one in platforms]
    each = list(zip(platforms, used, strict=True))
    v1: _Layers = [(one.image, one.parts(v1_settings), by) for one, by in each] if index.makes_v1 else []
    v2: _Layers = [(one.image, one.parts(settings), by) for one, by in each] if index.makes_v2 else []
    needs_xattrs = for_each(
        set(_pairs(v1)) | set(_pairs(v2)),
        lambda pair: check_as_planned(store, pair, settings),
        span_size_bytes=settings.span_size_bytes,
    )
    v1, v2 = _with_xattrs(v1, needs_xattrs), _with_xattrs(v2, needs_xattrs)
    made_v2 = _assemble(store, v2, settings, IndexVersion.V2)
    converted = assemble_converted(image, made_v2)
    if index.makes_v1 and is_replaced and converted is not None:
        v1 = list(_layers_of_converted(converted, made_v2, v1_settings, profiles))
    return Made(
        v1=_assemble(store, v1, v1_settings, IndexVersion.V1),
        v2=made_v2,
        converted=converted,
        ztoc_bytes=sum({pair.ztoc.digest: pair.ztoc.size for pair in needs_xattrs}.values()),
    )


def _pairs(layers: _Layers) -> Iterator[LayerAndZtoc]:
    for _, parts, _ in layers:
        yield from (_pair(part.outcome) for part in parts if isinstance(part.outcome, LayerZtoc))


def _pair(one: LayerZtoc) -> LayerAndZtoc:
    return LayerAndZtoc(layer=one.layer, ztoc=one.ztoc)


def _with_xattrs(layers: _Layers, needs_xattrs: Mapping[LayerAndZtoc, bool]) -> _Layers:
    """Enter which zTOCs need extended attributes."""

    def entered(part: LayerPart) -> LayerPart:
        if not isinstance(part.outcome, LayerZtoc):
            return part
        needs = needs_xattrs[_pair(part.outcome)]
        return replace(part, outcome=replace(part.outcome, needs_xattrs=needs))

    return [(image, [entered(part) for part in parts], profile) for image, parts, profile in layers]


def _assemble(
    store: ImageSource, layers: _Layers, settings: IndexSettings, version: IndexVersion
) -> tuple[AssembledPlatform, ...]:
    recipe = IndexRecipe(
        settings=settings,
        version=version,
        read_ztoc=lambda ztoc: fetch_ztoc(store, ztoc),
        marks_patterns=True,  # so that the filter can tell whether an index is up to date
    )
    return tuple(assemble_platform(store, image, parts, recipe, profile) for image, parts, profile in layers)


def _bound_in(
    converted: ConvertedImage, platforms: Sequence[AssembledPlatform]
) -> Iterator[tuple[AssembledPlatform, Document, Descriptor]]:
    """Yield each indexed platform, its manifest in the converted image, and the entry of its index.

    Platforms with the same layers share an index, which then has two entries.
    """
    indexed = {one.index.descriptor.digest: one for one in platforms if one.index}
    manifests = {str(one.descriptor.digest): one for one in converted.manifests}
    for entry in ImageIndex.parse(converted.root.data).manifests or ():
        if entry.digest in indexed and is_soci_index(entry):
            yield indexed[entry.digest], manifests[entry.annotations[SOCI_IMAGE_MANIFEST_DIGEST]], entry


def _layers_of_converted(
    converted: ConvertedImage,
    platforms: Sequence[AssembledPlatform],
    settings: IndexSettings,
    profiles: Mapping[Digest, UsedProfile],
) -> Iterator[tuple[PlatformImage, Sequence[LayerPart], UsedProfile | None]]:
    """Yield the images of a converted image with their layers. Recompressed layers are ordinary layers there."""
    for platform, document, entry in _bound_in(converted, platforms):
        known: dict[Digest, LayerPart] = {part.descriptor.digest: part for part in platform.given}
        manifest = ImageManifest.parse(document.data)
        image = PlatformImage(
            platform=entry.platform or platform.image.platform,
            descriptor=document.descriptor,
            manifest=manifest,
        )
        yield (
            image,
            [
                LayerPart(descriptor=layer.descriptor, outcome=layer.decision)
                if isinstance(layer.decision, LeftOut)
                else replace(known[layer.descriptor.digest], recompressed=None)
                for layer in plan_layers(manifest, settings)
            ],
            profiles.get(platform.image.descriptor.digest),
        )
