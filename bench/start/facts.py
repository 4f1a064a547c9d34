"""What the model of `soci.start` takes of each image: read from the registry, through the profile that was recorded."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.start.results import Coverage
from soci.cli.network_options import EstimateOptions
from soci.cli.opened_start import open_start
from soci.settings import IndexSettings
from soci.start.image_start import ImageStart

_GIB = 1 << 30


def start_of(image: str, profile: Path) -> ImageStart:
    """Return what a start needs of an image, as our mount reads it."""
    options = EstimateOptions(reader="mount")
    return open_start(image, profile, platform=None, options=options, settings=IndexSettings()).start


def start_facts(image: str, profile: Path) -> dict[str, Any]:
    """Describe layers, needed spans and program: all that an estimate is made from.

    A needed span is its number, its compressed bytes and its uncompressed bytes.
    """
    start = start_of(image, profile)
    loads = [
        {**asdict(load), "needed": [list(asdict(span).values()) for span in load.needed]}
        for load in start.loads
    ]
    return {"loads": loads, "program": asdict(start.program)}


def coverage_of(image: str, before: Path, now: Path) -> Coverage:
    """Compare what an earlier build's profile has prefetched in an image with what its start needs."""
    earlier, real = start_of(image, before), start_of(image, now)
    fetched = {(need.layer, need.span) for need in earlier.needs.spans}
    needed = {(need.layer, need.span) for need in real.needs.spans}

    def size(spans: set[tuple[int, int]]) -> int:
        sizes = [real.layers[layer].spans or () for layer, _ in spans]
        return sum(one[span].end - one[span].start for one, (_, span) in zip(sizes, spans, strict=True))

    return Coverage(
        files=len(earlier.needs.files) + len(earlier.needs.missing),
        missing_files=len(earlier.needs.missing),
        needed_bytes=size(needed),
        covered_bytes=size(needed & fetched),
        prefetched_bytes=size(fetched),
    )


def machine_facts() -> dict[str, Any]:
    """Describe this machine without naming it."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in info if line.startswith("model name")]
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processors": os.cpu_count(),
        "model": models[0] if models else platform.machine(),
        "memory_gib": round(memory_bytes / _GIB),
        "system": f"Linux {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }
