"""Layers that are better without a zTOC, since the start reads nearly all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from soci.start.model import LayerLoad, Program, Way, estimate
from soci.start.readers import DEFAULT_NETWORK, SNAPSHOTTER, Network, Reader

NEARLY_WHOLE = 0.8
"""The share of a layer's bytes from which it may be loaded whole. Less would fetch much that no start reads."""

_NO_PROGRAM = Program(seconds=0, files=0)


def plan_whole_layers(
    layers: Sequence[LayerLoad], *, network: Network = DEFAULT_NETWORK, reader: Reader = SNAPSHOTTER
) -> frozenset[int]:
    """Return the numbers of the layers that a reader without prefetch had better load whole before the start.

    The start needs nearly all bytes of such a layer, and the model says that fewer seconds pass until the program is
    ready if the layer has no zTOC. Layers that have none already are not named.
    """
    chosen: set[int] = set()
    current = list(layers)
    best = _lazy_seconds(current, network, reader)
    shares = {number: share_needed(layer) for number, layer in enumerate(layers)}
    for number in sorted(shares, key=lambda number: (-shares[number], number)):
        if shares[number] < NEARLY_WHOLE:
            break
        changed = [*current[:number], without_ztoc(current[number]), *current[number + 1 :]]
        seconds = _lazy_seconds(changed, network, reader)
        if seconds < best:
            chosen.add(number)
            current, best = changed, seconds
    return frozenset(chosen)


def share_needed(layer: LayerLoad) -> float:
    """Return how much of a layer's compressed bytes the start needs; 0 for a layer without a zTOC."""
    return layer.needed_bytes / layer.compressed_bytes if layer.compressed_bytes else 0.0


def without_ztoc(layer: LayerLoad) -> LayerLoad:
    """Return the layer as it would be loaded without its zTOC."""
    return replace(layer, ztoc_bytes=None, needed=())


def _lazy_seconds(layers: Sequence[LayerLoad], network: Network, reader: Reader) -> float:
    return estimate(Way.LAZY, layers, _NO_PROGRAM, network, reader).seconds
