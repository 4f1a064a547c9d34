"""What to do for a start: one sentence for each question, with the numbers of the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from soci.start.image_start import ImageStart
from soci.start.model import Estimate, Way, prefetch_seconds
from soci.start.quantities import mb_text, mib_text
from soci.start.readers import SNAPSHOTTER
from soci.start.respan import with_span_size
from soci.start.whole_layers import plan_whole_layers, share_needed, without_ztoc

SPAN_SIZES = tuple(mib << 20 for mib in (1, 2, 4, 8, 16))
"""The sizes that are compared. Below 1 MiB the model says too much (docs/start.md)."""

WORTH_IT = 0.1
"""A change that saves a smaller share of the loading is not advised: the model is no more exact.

Loading is what a start takes besides the program itself, whose time is known least.
"""

_NO_DIFFERENCE = 0.05


class Topic(StrEnum):
    """The questions."""

    PROFILE = "profile"
    INDEX = "index"
    PREFETCH = "prefetch"
    WHOLE_LAYERS = "whole-layers"
    SPAN_SIZE = "span-size"
    START_FIRST = "start-first"


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """The answer to one question."""

    topic: Topic
    choice: str
    """For a program: `yes`, `no`, a size, or the name of a way."""
    sentence: str
    numbers: Mapping[str, float] = field(default_factory=dict)


def advise(start: ImageStart) -> tuple[Advice, ...]:
    """Answer each question that the image raises."""
    return tuple(_answers(start))


def _answers(start: ImageStart) -> Iterator[Advice]:
    if start.needs.missing or not start.needs.files:
        yield _profile_advice(start)
    if not start.needs.files:
        return
    if not start.is_indexed:
        sentence = "no layer has a zTOC, so there is nothing to load lazily: pull and unpack"
        yield Advice(topic=Topic.INDEX, choice="no-index", sentence=sentence)
        return
    yield index_advice(start)
    yield _prefetch_advice(start)
    yield _whole_layers_advice(start)
    yield _span_size_advice(start)
    yield _start_first_advice(start)


def _profile_advice(start: ImageStart) -> Advice:
    missing, files = len(start.needs.missing), len(start.needs.files)
    sentence = f"{missing:,} of the profile's {missing + files:,} files are not in this image"
    if not missing:
        sentence = "the profile names no file: record a start"
    elif missing > files:
        sentence += ": record a new one"
    choice = "record" if missing > files or not files else "keep"
    return Advice(
        topic=Topic.PROFILE, choice=choice, sentence=sentence, numbers={"missing": missing, "found": files}
    )


def index_advice(start: ImageStart) -> Advice:
    """Say which of the ways is the fastest: without an index, lazy, or lazy with prefetch."""
    ways = {way: start.estimate(way) for way in (Way.NO_INDEX, Way.LAZY, Way.PREFETCH)}
    seconds = {way: made.seconds for way, made in ways.items()}
    best = min(seconds, key=lambda way: seconds[way])
    times = (
        f"ready in {seconds[Way.PREFETCH]:.1f} s with prefetch, {seconds[Way.LAZY]:.1f} s lazily, "
        f"{seconds[Way.NO_INDEX]:.1f} s without an index"
    )
    lazy = seconds[Way.NO_INDEX] / seconds[Way.LAZY]
    if best is Way.NO_INDEX:
        sentence = f"do not index: {times}; {factor_text(lazy)} lazily"
    elif best is Way.PREFETCH and lazy < 1:
        sentence = f"index only for readers with prefetch: {times}; {factor_text(lazy)} lazily"
    else:
        sentence = f"index: {times}; {factor_text(seconds[Way.NO_INDEX] / seconds[best])}"
    return Advice(
        topic=Topic.INDEX,
        choice=best,
        sentence=sentence,
        numbers={f"{way}_seconds": value for way, value in seconds.items()},
    )


def _prefetch_advice(start: ImageStart) -> Advice:
    spans = [span for load in start.loads for span in load.needed]
    if not spans:
        return Advice(topic=Topic.PREFETCH, choice="no", sentence="no prefetch: the start needs no span")
    layers = _layers_text([number for number, load in enumerate(start.loads) if load.needed])
    size_bytes = sum(span.compressed_bytes for span in spans)
    lazy, made = start.estimate(Way.LAZY), start.estimate(Way.PREFETCH)
    seconds, saved = made.pull_seconds - lazy.pull_seconds, lazy.seconds - made.seconds
    owner = prefetch_seconds(spans, len(spans), start.network, SNAPSHOTTER)
    limit = SNAPSHOTTER.prefetch_limit_seconds
    count = "1 span" if len(spans) == 1 else f"{len(spans):,} spans"
    sentence = (
        f"{'prefetch' if saved > 0 else 'no prefetch'}: {count} of {layers}, {mb_text(size_bytes)}, "
        f"{seconds:.1f} s before the start, which {'saves' if saved > 0 else 'loses'} {abs(saved):.1f} s; "
        f"{owner:.1f} s in the owner's reader, {'within' if owner <= limit else 'NOT within'} its {limit:g} s"
    )
    numbers = {
        "spans": len(spans),
        "bytes": size_bytes,
        "seconds": seconds,
        "owner_seconds": owner,
        "saved_seconds": saved,
    }
    return Advice(
        topic=Topic.PREFETCH, choice="yes" if saved > 0 else "no", sentence=sentence, numbers=numbers
    )


def _whole_layers_advice(start: ImageStart) -> Advice:
    numbers = sorted(plan_whole_layers(start.loads, network=start.network, reader=start.reader))
    if not numbers:
        largest = max(map(share_needed, start.loads), default=0)
        sentence = f"a zTOC for each layer: the start reads at most {largest:.0%} of one"
        if largest >= 1 - WORTH_IT:
            sentence += ", and unpacking it would take longer"
        return Advice(topic=Topic.WHOLE_LAYERS, choice="no", sentence=sentence)
    changed = tuple(
        without_ztoc(load) if number in numbers else load for number, load in enumerate(start.loads)
    )
    saved = start.estimate(Way.LAZY).seconds - start.estimate(Way.LAZY, changed).seconds
    least = min(share_needed(start.loads[number]) for number in numbers)
    return Advice(
        topic=Topic.WHOLE_LAYERS,
        choice=",".join(map(str, numbers)),
        sentence=(
            f"no zTOC for {_layers_text(numbers)}, of which the start reads at least {least:.0%}: "
            f"saves {saved:.1f} s for readers without prefetch"
        ),
        numbers={"saved_seconds": saved},
    )


def _span_size_advice(start: ImageStart) -> Advice:
    seconds = {start.span_size_bytes: start.estimate(Way.LAZY).seconds}
    for size in SPAN_SIZES:
        if size not in seconds:
            loads = with_span_size(start.layers, start.loads, start.needs, size)
            seconds[size] = start.estimate(Way.LAZY, loads).seconds
    now = start.span_size_bytes
    best = min(seconds, key=lambda size: seconds[size])
    if not _is_worth_it(start, seconds[now], seconds[best]):
        best = now
    others = ", ".join(f"{mib_text(size)} {seconds[size]:.1f} s" for size in sorted(seconds))
    verb = "keep" if best == now else "take"
    return Advice(
        topic=Topic.SPAN_SIZE,
        choice=str(best),
        sentence=f"{verb} spans of {mib_text(best)}: a lazy start takes {others}",
        numbers={str(size): value for size, value in seconds.items()},
    )


def _start_first_advice(start: ImageStart) -> Advice:
    front = start.start_first
    pairs = {way: (start.estimate(way), start.estimate(way, front)) for way in (Way.LAZY, Way.PREFETCH)}
    lazy, prefetch = pairs[Way.LAZY], pairs[Way.PREFETCH]
    stored = sum(
        layer.compressed_bytes for layer, load in zip(start.layers, start.loads, strict=True) if load.needed
    )
    is_worth_it = any(_is_worth_it(start, before.seconds, after.seconds) for before, after in pairs.values())
    sentence = (
        f"{'start first pays' if is_worth_it else 'start first does not pay'}: "
        f"{_change(lazy)} lazily, {_change(prefetch)} with prefetch, "
        f"{mb_text(prefetch[1].bytes)} instead of {mb_text(prefetch[0].bytes)}; it stores {mb_text(stored)} more"
    )
    return Advice(
        topic=Topic.START_FIRST,
        choice="yes" if is_worth_it else "no",
        sentence=sentence,
        numbers={
            "lazy_seconds": lazy[1].seconds,
            "prefetch_seconds": prefetch[1].seconds,
            "bytes": prefetch[1].bytes,
            "requests": prefetch[1].requests,
            "stored_bytes": stored,
        },
    )


def _layers_text(numbers: Sequence[int]) -> str:
    return f"layer{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def _is_worth_it(start: ImageStart, before: float, after: float) -> bool:
    return before - after >= WORTH_IT * (before - start.program.seconds)


def _change(pair: tuple[Estimate, Estimate]) -> str:
    return f"{pair[1].seconds:.1f} s instead of {pair[0].seconds:.1f} s"


def factor_text(factor: float) -> str:
    """Return how much faster one way is than another: 1.9 times as fast."""
    if abs(factor - 1) < _NO_DIFFERENCE:
        return "about as fast"
    return f"{factor:.1f} times as fast" if factor > 1 else f"{1 / factor:.1f} times as slow"
