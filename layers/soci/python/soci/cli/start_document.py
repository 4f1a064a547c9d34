"""The JSON documents of the report on a start. Users rely on their keys."""

from __future__ import annotations

from soci.image.filesystem import shown
from soci.start.start_report import StartReport


def network_document(report: StartReport) -> dict[str, object]:
    """Describe what a start was estimated for."""
    network = report.start.network
    return {
        "network": {
            "round_trip_seconds": network.round_trip_seconds,
            "bandwidth_bytes_per_second": network.bandwidth_bytes_per_second,
        },
        "reader": report.start.reader.name,
        "program_seconds": report.start.program.seconds,
    }


def estimate_documents(report: StartReport) -> list[dict[str, object]]:
    """Describe what a start takes for each way to load the image."""
    return [
        {
            "way": way.name,
            "pull_seconds": round(way.estimate.pull_seconds, 3),
            "run_seconds": round(way.estimate.run_seconds, 3),
            "seconds": round(way.estimate.seconds, 3),
            "bytes": way.estimate.bytes,
            "requests": way.estimate.requests,
        }
        for way in report.ways
    ]


def advice_documents(report: StartReport) -> list[dict[str, object]]:
    """Describe what to do."""
    return [
        {
            "topic": one.topic,
            "choice": one.choice,
            "sentence": one.sentence,
            "numbers": {name: round(value, 3) for name, value in one.numbers.items()},
        }
        for one in report.advice
    ]


def report_document(report: StartReport) -> dict[str, object]:
    """Describe a start."""
    start, profile = report.start, report.profile
    return {
        "image": str(report.image),
        "platform": str(report.platform),
        "profile": {
            "image": None if profile.image is None else str(profile.image),
            "program": None if profile.program is None else shown(profile.program),
            "starts": profile.starts,
        },
        **network_document(report),
        "needed_bytes": start.needed_bytes,
        "compressed_bytes": start.compressed_bytes,
        "needed_spans": report.needed_spans,
        "spans": report.all_spans,
        "layers": _layer_documents(report),
        "files": [
            {
                "path": shown(need.read.path),
                "read_bytes": need.size_bytes,
                "size_bytes": need.node.data.uncompressed_size if need.node.data else 0,
                "layer": need.node.data_layer,
                "first_ms": need.read.first_ms,
            }
            for need in start.needs.files
        ],
        "missing_files": [shown(path) for path in start.needs.missing],
        "estimates": estimate_documents(report),
        "advice": advice_documents(report),
    }


def _layer_documents(report: StartReport) -> list[dict[str, object]]:
    start = report.start
    first = {(need.layer, need.span): need.first_ms for need in start.needs.spans}
    return [
        {
            "digest": str(digest),
            "compressed_bytes": load.compressed_bytes,
            "uncompressed_bytes": load.uncompressed_bytes,
            "files": load.files,
            "ztoc_bytes": load.ztoc_bytes,
            "spans": None if layer.spans is None else len(layer.spans),
            "needed_bytes": load.needed_bytes,
            "needed": [
                {
                    "span": span.number,
                    "first_ms": first[number, span.number],
                    "compressed_bytes": span.compressed_bytes,
                    "uncompressed_bytes": span.uncompressed_bytes,
                }
                for span in load.needed
            ],
        }
        for number, (digest, layer, load) in enumerate(
            zip(start.digests, start.layers, start.loads, strict=True)
        )
    ]
