"""The start of one image: what the report and the advice are made from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from soci.oci.digest import Digest
from soci.start.loads import LayerShape, layer_loads
from soci.start.model import Estimate, LayerLoad, Program, Way, estimate
from soci.start.needs import StartNeeds
from soci.start.readers import Network, Reader
from soci.start.respan import with_start_first
from soci.ztoc.reorder import Reordering


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageStart:
    """An image's layers, what a start needs of them, and where it starts."""

    digests: tuple[Digest, ...]
    """Of the layers, from the bottom up; `layers` and `loads` have the same order."""
    layers: tuple[LayerShape, ...]
    loads: tuple[LayerLoad, ...]
    fronts: tuple[Reordering | None, ...]
    """The order of each layer with the start's files in front, where that is worth it."""
    needs: StartNeeds
    program: Program
    span_size_bytes: int
    network: Network
    reader: Reader

    def estimate(self, way: Way, loads: tuple[LayerLoad, ...] | None = None) -> Estimate:
        """Estimate a start of the image, or of the image with other loads."""
        return estimate(way, self.loads if loads is None else loads, self.program, self.network, self.reader)

    @property
    def start_first(self) -> tuple[LayerLoad, ...]:
        """The loads if layers had the files of the start in front."""
        return with_start_first(self.layers, self.loads, self.needs, self.span_size_bytes, self.fronts)

    @property
    def needed_bytes(self) -> int:
        """The compressed bytes of all needed spans."""
        return sum(load.needed_bytes for load in self.loads)

    @property
    def compressed_bytes(self) -> int:
        """The compressed bytes of all layers."""
        return sum(layer.compressed_bytes for layer in self.layers)

    @property
    def is_indexed(self) -> bool:
        """Whether a layer has a zTOC."""
        return any(layer.spans for layer in self.layers)


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatedWay:
    """A way to load the image, and what a start takes by it."""

    name: str
    label: str
    estimate: Estimate


def make_image_start(
    digests: tuple[Digest, ...],
    layers: tuple[LayerShape, ...],
    fronts: tuple[Reordering | None, ...],
    needs: StartNeeds,
    program: Program,
    *,
    span_size_bytes: int,
    network: Network,
    reader: Reader,
) -> ImageStart:
    """Return the start of an image whose layers have these shapes."""
    return ImageStart(
        digests=digests,
        layers=layers,
        fronts=fronts,
        loads=layer_loads(layers, needs),
        needs=needs,
        program=program,
        span_size_bytes=span_size_bytes,
        network=network,
        reader=reader,
    )


def estimate_ways(start: ImageStart) -> tuple[EstimatedWay, ...]:
    """Estimate a start for each way to load the image. Without a zTOC there are only the ways without an index."""
    return tuple(_estimated_ways(start))


def _estimated_ways(start: ImageStart) -> Iterator[EstimatedWay]:
    yield EstimatedWay(
        name="no-index", label="no index: pull and unpack", estimate=start.estimate(Way.NO_INDEX)
    )
    yield EstimatedWay(
        name="parallel-pull", label="no index: parallel pull", estimate=start.estimate(Way.PARALLEL_PULL)
    )
    if not start.is_indexed:
        return
    yield EstimatedWay(name="lazy", label="lazy", estimate=start.estimate(Way.LAZY))
    yield EstimatedWay(name="prefetch", label="lazy with prefetch", estimate=start.estimate(Way.PREFETCH))
    front = start.start_first
    yield EstimatedWay(
        name="start-first", label="start first, lazy", estimate=start.estimate(Way.LAZY, front)
    )
    yield EstimatedWay(
        name="start-first-prefetch",
        label="start first with prefetch",
        estimate=start.estimate(Way.PREFETCH, front),
    )
