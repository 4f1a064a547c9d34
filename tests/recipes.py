"""Run the recipes of `soci.build.recipe` in tests: on a layout, in place or into another one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from soci.build.recipe import BuildResult, Run, convert, create_index
from soci.image.documents import Platforms, choose_images, fetch_image
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.manifest import ImageIndex
from soci.oci.platform import Platform
from soci.places.layout.oci_layout import OciLayout
from soci.places.ports import ImageSource, ImageStore
from soci.settings import IndexSettings
from soci.start.prefetch_source import UsedProfile
from tests.builders import BUILD_TOOL

CONVERTED = "latest-soci"


@dataclass
class Watcher:
    """A `Progress` that records its calls by the layer's digest."""

    started: list[Digest] = field(default_factory=list)
    advanced: dict[Digest, int] = field(default_factory=dict)
    finished: list[Digest] = field(default_factory=list)

    def start(self, layer: Descriptor) -> None:
        self.started.append(layer.digest)

    def advance(self, layer: Descriptor, size_bytes: int) -> None:
        self.advanced[layer.digest] = self.advanced.get(layer.digest, 0) + size_bytes

    def finish(self, layer: Descriptor) -> None:
        self.finished.append(layer.digest)


def settings_of(**fields: Any) -> IndexSettings:
    """Settings for small images: no minimum size, small spans, the owner's identifier."""
    small = {"min_layer_size_bytes": 0, "span_size_bytes": 65_536, "build_tool_identifier": BUILD_TOOL}
    return IndexSettings(**{**small, **fields})


def run(
    recipe: Callable[..., BuildResult],
    source: ImageSource,
    sink: ImageStore,
    *,
    platforms: Sequence[str] | Platforms = Platforms.ALL,
    tag: str | None = CONVERTED,
    jobs: int = 2,
    progress: Watcher | None = None,
    profiles: Mapping[Digest, UsedProfile] | None = None,
    marks_patterns: bool = False,
    **settings: Any,
) -> BuildResult:
    """Run `convert` or `create_index` over the image that a source names."""
    image = fetch_image(source)
    wanted = platforms if isinstance(platforms, Platforms) else [Platform.parse(text) for text in platforms]
    return recipe(
        Run(
            source=source,
            sink=sink,
            image=image,
            chosen=choose_images(image, wanted),
            settings=settings_of(**settings),
            tag=tag,
            jobs=jobs,
            progress=progress or Watcher(),
            profiles=profiles or {},
            marks_patterns=marks_patterns,
        )
    )


def convert_layout(
    layout: Path, to: Path | None = None, *, of: str = "latest", **options: Any
) -> BuildResult:
    """Convert the image with the tag `of`, in place unless `to` says where to write."""
    return _run_on_layout(convert, layout, to, of=of, **options)


def create_in_layout(
    layout: Path, to: Path | None = None, *, of: str = "latest", **options: Any
) -> BuildResult:
    """Index the image with the tag `of` with version 1, in place unless `to` says where to write."""
    return _run_on_layout(create_index, layout, to, of=of, **{"tag": None, **options})


def _run_on_layout(
    recipe: Callable[..., BuildResult], layout: Path, to: Path | None, *, of: str, **options: Any
) -> BuildResult:
    source = OciLayout(layout, tag=of)
    return run(recipe, source, source if to is None else OciLayout(to), **options)


def blobs_of(layout: Path) -> dict[str, bytes]:
    """All blobs of a layout by digest; a file that is no blob is there by its own name."""
    found = {}
    for path in (layout / "blobs").rglob("*"):
        if path.is_file():
            found[f"{path.parent.name}:{path.name}"] = path.read_bytes()
    return found


def files_of(directory: Path) -> dict[str, bytes | None]:
    """All files below a directory: content by relative path, None for a directory."""
    return {
        str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None
        for path in directory.rglob("*")
    }


def document_in(layout: Path, digest: Digest | str) -> dict[str, Any]:
    """A JSON document of a layout."""
    algorithm, _, hexadecimal = str(digest).partition(":")
    document: dict[str, Any] = json.loads((layout / "blobs" / algorithm / hexadecimal).read_bytes())
    return document


def index_in(layout: Path, tag: str = CONVERTED) -> ImageIndex:
    """The image index with a tag."""
    source = OciLayout(layout, tag=tag)
    return ImageIndex.parse(source.fetch_manifest(source.fetch_root()))


def entries_in(layout: Path, tag: str = CONVERTED) -> tuple[Descriptor, ...]:
    """The entries of the image index with a tag."""
    return index_in(layout, tag).manifests or ()
