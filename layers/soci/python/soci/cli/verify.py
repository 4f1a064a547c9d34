"""`soci-index verify`: check an image, its index and its layers."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from soci.cli.options import ImageArgument, JsonOption
from soci.cli.terminal import print_json, print_lines, size_text
from soci.oci.reference import parse_reference
from soci.places.open import open_source
from soci.verify import VerifyReport, verify_image


def verify(
    image: ImageArgument,
    *,
    files: Annotated[
        bool, typer.Option("--files", help="Compare each file with the layer's tar too.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check every digest and every rule of the lazy reader, and inflate every span from its checkpoint."""
    report = verify_image(open_source(parse_reference(image)), compare_files=files)
    if as_json:
        print_json(_document(report))
    else:
        _print(report)
    if not report.is_sound:
        raise typer.Exit(1)


def _document(report: VerifyReport) -> dict[str, object]:
    return {
        "sound": report.is_sound,
        "counts": asdict(report.counts),
        "findings": [asdict(finding) for finding in report.findings],
    }


def _print(report: VerifyReport) -> None:
    """Print the findings, one a line, and counts of what was checked."""
    print_lines([f"{finding.severity}: {finding.where}: {finding.what}" for finding in report.findings])
    counts = report.counts
    print_lines(
        [
            "sound" if report.is_sound else "NOT sound",
            f"  {counts.manifests} manifests and {counts.blobs} blobs, {size_text(counts.bytes)}",
            f"  {counts.soci_indexes} SOCI indexes, {counts.ztocs} zTOCs, {counts.spans} spans inflated",
            f"  {counts.files} files compared",
        ]
    )
