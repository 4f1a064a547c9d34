"""The report on a start: what it reads of an image, how long it takes, and what to do."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from soci.oci.digest import Digest
from soci.oci.platform import Platform
from soci.start.advice import Advice, advise
from soci.start.image_start import EstimatedWay, ImageStart, estimate_ways
from soci.start.needs import FileNeed
from soci.start.profile import StartProfile
from soci.start.steps import Steps, plan_steps


@dataclass(frozen=True, slots=True, kw_only=True)
class StepShare:
    """What a start needs for the first time within a step."""

    step: int
    spans: int
    size_bytes: int
    """Compressed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartReport:
    """All that the table, the page and the JSON document show."""

    name: str
    """As the user wrote it."""
    image: Digest
    platform: Platform
    profile: StartProfile
    start: ImageStart
    steps: Steps
    ways: tuple[EstimatedWay, ...]
    advice: tuple[Advice, ...]

    @property
    def needed_spans(self) -> int:
        """The number of spans that the start needs."""
        return len(self.start.needs.spans)

    @property
    def all_spans(self) -> int:
        """The number of spans of all layers."""
        return sum(len(layer.spans or ()) for layer in self.start.layers)


def make_report(
    name: str, image: Digest, platform: Platform, profile: StartProfile, start: ImageStart
) -> StartReport:
    """Work out the report."""
    return StartReport(
        name=name,
        image=image,
        platform=platform,
        profile=profile,
        start=start,
        steps=plan_steps(need.first_ms for need in start.needs.spans),
        ways=estimate_ways(start),
        advice=advise(start),
    )


def share_steps(report: StartReport) -> tuple[StepShare, ...]:
    """Return how many spans and bytes each step needs for the first time."""
    spans = [0] * len(report.steps.starts_ms)
    sizes = [0] * len(report.steps.starts_ms)
    for need in report.start.needs.spans:
        step = report.steps.step_of(need.first_ms)
        span = (report.start.layers[need.layer].spans or ())[need.span]
        spans[step] += 1
        sizes[step] += span.end - span.start
    return tuple(
        StepShare(step=step, spans=count, size_bytes=sizes[step]) for step, count in enumerate(spans)
    )


def largest_reads(report: StartReport, count: int) -> list[FileNeed]:
    """Return the files of which the start reads most, in this order."""
    return heapq.nsmallest(
        count, report.start.needs.files, key=lambda need: (-need.size_bytes, need.read.path)
    )
