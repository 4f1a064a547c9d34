"""The settings of a deployment: which images are indexed, how, and which tag the result gets.

They are one JSON document: `settings` in cdk.json, and SOCI_SETTINGS of every function. Reading, writing, the messages
about bad fields and the table in the manual all follow from the declarations here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

from soci.service.settings.schema import (
    Choice,
    Declared,
    Flag,
    Integer,
    ListOf,
    Nullable,
    PrintableText,
    Setting,
    Text,
)
from soci.settings import (
    DEFAULT_BUILD_TOOL_IDENTIFIER,
    DEFAULT_GZIP_LEVEL,
    DEFAULT_MIN_LAYER_SIZE_BYTES,
    DEFAULT_PREFETCH_BUDGET_BYTES,
    DEFAULT_SPAN_SIZE_BYTES,
    MAX_GZIP_LEVEL,
    MAX_SPAN_SIZE_BYTES,
    MIN_SPAN_SIZE_BYTES,
    IndexSettings,
    IndexVersion,
    MultiMember,
    Optimization,
    WholeLayers,
    ZstdLayers,
)

DEFAULT_MIN_IMAGE_SIZE_BYTES = 250 << 20
"""The advice of AWS: smaller images do not start sooner when they are loaded lazily."""

_GLOB = Text(pattern=r"[A-Za-z0-9._/*?-]{1,300}", accepted="globs of letters, digits and `. _ - / * ?`")
_TAG_GLOB = Text(
    pattern=r"[A-Za-z0-9._*?-]{1,128}", accepted="globs of tags: letters, digits and `. _ - * ?`"
)
_TAG_SUFFIX = Text(pattern=r"[A-Za-z0-9_.-]{1,64}", accepted="1 to 64 letters, digits and `_ . -`")
_PRINTABLE = PrintableText(maximum_characters=200)
_PATH = Text(pattern=r"[^\x00\ud800-\udfff]{1,4096}", accepted="paths or globs")
_SIZE = Integer(minimum=0)


class UntaggedImages(StrEnum):
    """What to do with images that are pushed without a tag."""

    LEAVE_OUT = "leave-out"
    INDEX = "index"


class Architecture(StrEnum):
    """Architectures as image indexes name them."""

    AMD64 = "amd64"
    ARM64 = "arm64"
    ARM = "arm"
    I386 = "386"
    PPC64LE = "ppc64le"
    RISCV64 = "riscv64"
    S390X = "s390x"


class StartProfiles(StrEnum):
    """Which start profiles decide the prefetch of an index (docs/adr/0052)."""

    OFF = "off"
    IMAGE = "image"
    """A profile that refers to the image."""
    LINE = "line"
    """Else that of the image's line."""


INDEX_VERSIONS = {
    "v1": frozenset({IndexVersion.V1}),
    "v2": frozenset({IndexVersion.V2}),
    "both": frozenset(IndexVersion),
}
"""The versions of the index that an image gets, by the value of the setting."""


class TagPolicy(StrEnum):
    """The tag of the SOCI-enabled image of version 2."""

    SUFFIX = "suffix"
    """The image's own tag with a suffix. The image keeps its tag."""
    REPLACE = "replace"
    """The image's own tag, which moves to the SOCI-enabled image."""
    DIGEST_ONLY = "digest-only"


@dataclass(frozen=True, slots=True, kw_only=True)
class NamePatterns(Declared):
    """Patterns of names. A name is taken if it matches a pattern to include and none to exclude."""

    include: Annotated[
        tuple[str, ...],
        Setting(
            ListOf(item=_GLOB, minimum_items=1),
            "names to take; `*` matches any characters, `?` one; the whole name has to match, case counts",
        ),
    ] = ("*",)
    exclude: Annotated[
        tuple[str, ...], Setting(ListOf(item=_GLOB), "names to leave out, of those taken")
    ] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules(Declared):
    """Which images are indexed."""

    repositories: NamePatterns = field(default_factory=NamePatterns)
    tags: NamePatterns = field(default_factory=NamePatterns)
    untagged_images: Annotated[
        UntaggedImages,
        Setting(
            Choice(UntaggedImages),
            "images pushed without a tag; the parts of a multi-platform image are pushed without one too",
        ),
    ] = UntaggedImages.LEAVE_OUT
    min_image_size_bytes: Annotated[
        int,
        Setting(
            _SIZE,
            "smaller images are left out; the size is that of one platform's compressed layers",
            unit="bytes",
        ),
    ] = DEFAULT_MIN_IMAGE_SIZE_BYTES
    max_image_size_bytes: Annotated[
        int | None, Setting(Nullable(_SIZE), "larger images are left out; `null`: no limit", unit="bytes")
    ] = None
    architectures: Annotated[
        tuple[Architecture, ...],
        Setting(
            ListOf(item=Choice(Architecture), minimum_items=1),
            "architectures to index, if the image has them; the operating system is always linux",
        ),
    ] = (Architecture.AMD64, Architecture.ARM64)

    def conflicts(self) -> Iterable[str]:
        """See `Declared`."""
        if self.max_image_size_bytes is not None and self.max_image_size_bytes < self.min_image_size_bytes:
            yield (
                f"max_image_size_bytes: got {self.max_image_size_bytes}, "
                f"want at least min_image_size_bytes, {self.min_image_size_bytes}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Index(Declared):
    """How images are indexed."""

    version: Annotated[
        str,
        Setting(
            Choice(INDEX_VERSIONS),
            "`v2`: a SOCI-enabled image beside the original; `v1`: an index that refers to the image, "
            "which Fargate uses only in accounts that had SOCI before",
        ),
    ] = "v2"
    span_size_bytes: Annotated[
        int,
        Setting(
            Integer(minimum=MIN_SPAN_SIZE_BYTES, maximum=MAX_SPAN_SIZE_BYTES),
            "distance of the points from which a layer can be read",
            unit="bytes",
        ),
    ] = DEFAULT_SPAN_SIZE_BYTES
    min_layer_size_bytes: Annotated[
        int, Setting(_SIZE, "smaller layers are left out, since loading them whole is faster", unit="bytes")
    ] = DEFAULT_MIN_LAYER_SIZE_BYTES
    optimizations: Annotated[
        tuple[Optimization, ...],
        Setting(
            ListOf(item=Choice(Optimization)),
            "`xattr`: tell the reader which layers have no extended attributes",
        ),
    ] = ()
    prefetch_files: Annotated[
        tuple[str, ...],
        Setting(
            ListOf(item=_PATH),
            "files to fetch before the container starts; experimental: off by default in the owner's snapshotter, "
            "undocumented on Fargate",
        ),
    ] = ()
    start_profiles: Annotated[
        StartProfiles,
        Setting(
            Choice(StartProfiles),
            "the start profile that decides what is fetched before the container starts. `image`: one that refers to "
            "the image; `line`: else that of the image's line, its repository or a pattern of `profile_lines`",
        ),
    ] = StartProfiles.LINE
    profile_lines: Annotated[
        tuple[str, ...],
        Setting(
            ListOf(item=_TAG_GLOB),
            "patterns of tags whose images have a start profile of their own; the first that fits and has one counts, "
            "then the repository's",
        ),
    ] = ()
    prefetch_budget_bytes: Annotated[
        int,
        Setting(
            _SIZE,
            "how many compressed bytes a start profile may have prefetched; the default is what arrives in 10 seconds "
            "at 75 MB/s",
            unit="bytes",
        ),
    ] = DEFAULT_PREFETCH_BUDGET_BYTES
    whole_layers: Annotated[
        WholeLayers,
        Setting(
            Choice(WholeLayers),
            "layers of which a start reads nearly all, by its profile; `auto`: they get no zTOC if a reader that does "
            "not prefetch is then faster",
        ),
    ] = WholeLayers.NEVER
    multi_member_gzip: Annotated[
        MultiMember,
        Setting(
            Choice(MultiMember),
            "gzip layers of several members (mgzip, bgzip, eStargz), which readers before v0.14 read wrongly",
        ),
    ] = MultiMember.LEAVE_OUT
    zstd_layers: Annotated[
        ZstdLayers,
        Setting(
            Choice(ZstdLayers),
            "zstd layers, which no SOCI reader loads lazily; `recompress`: the SOCI-enabled image gets gzip layers",
        ),
    ] = ZstdLayers.LEAVE_OUT
    gzip_level: Annotated[
        int,
        Setting(
            Integer(minimum=1, maximum=MAX_GZIP_LEVEL), "level of recompressed layers; 9 gives the smallest"
        ),
    ] = DEFAULT_GZIP_LEVEL
    build_tool_identifier: Annotated[
        str, Setting(_PRINTABLE, "is written into every index and is part of every digest")
    ] = DEFAULT_BUILD_TOOL_IDENTIFIER

    def conflicts(self) -> Iterable[str]:
        """See `Declared`."""
        if not self.makes_v2 and self.zstd_layers is ZstdLayers.RECOMPRESS:
            yield (
                "zstd_layers: got recompress, want leave-out with version v1, which leaves images as they are"
            )

    @property
    def settings(self) -> IndexSettings:
        """The settings for building an index."""
        return IndexSettings(
            span_size_bytes=self.span_size_bytes,
            min_layer_size_bytes=self.min_layer_size_bytes,
            build_tool_identifier=self.build_tool_identifier,
            optimizations=frozenset(self.optimizations),
            prefetch_patterns=self.prefetch_files,
            prefetch_budget_bytes=self.prefetch_budget_bytes,
            whole_layers=self.whole_layers,
            multi_member=self.multi_member_gzip,
            zstd_layers=self.zstd_layers,
            gzip_level=self.gzip_level,
        )

    @property
    def versions(self) -> frozenset[IndexVersion]:
        """The versions of the index that images get."""
        return INDEX_VERSIONS[self.version]

    @property
    def makes_v1(self) -> bool:
        """Whether images get an index of version 1."""
        return IndexVersion.V1 in self.versions

    @property
    def makes_v2(self) -> bool:
        """Whether images get a SOCI-enabled image of version 2."""
        return IndexVersion.V2 in self.versions


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagging(Declared):
    """The tag of the SOCI-enabled image of version 2. Version 1 sets no tag."""

    policy: Annotated[
        TagPolicy,
        Setting(
            Choice(TagPolicy),
            "the tag of the SOCI-enabled image. `suffix`: the image's tag with a suffix; `replace`: the image's own "
            "tag; `digest-only`: none",
        ),
    ] = TagPolicy.SUFFIX
    suffix: Annotated[str, Setting(_TAG_SUFFIX, "the suffix of the policy `suffix`")] = "-soci"
    when_nothing_to_index: Annotated[
        bool,
        Setting(
            Flag(),
            "with `suffix`: if nothing is indexed, set the new tag on the image itself, so that a deployment that "
            "names the tag works",
        ),
    ] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration(Declared):
    """All settings. `from_document` and `to_document` are inverse."""

    rules: Rules = field(default_factory=Rules)
    index: Index = field(default_factory=Index)
    tagging: Tagging = field(default_factory=Tagging)

    def output_tag(self, tag: str | None) -> str | None:
        """Return the tag of the SOCI-enabled image of an image with this tag; None if it gets no tag."""
        if tag is None or not self.index.makes_v2 or self.tagging.policy is TagPolicy.DIGEST_ONLY:
            return None
        return tag + self.tagging.suffix if self.tagging.policy is TagPolicy.SUFFIX else tag

    def original_tag(self, tag: str | None) -> str | None:
        """Return a tag without the suffix; None if it has none, or if the policy is another."""
        suffix = self.tagging.suffix
        if tag is None or self.tagging.policy is not TagPolicy.SUFFIX or not tag.endswith(suffix):
            return None
        return tag.removesuffix(suffix) or None
