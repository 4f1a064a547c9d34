"""The section "Measured" of docs/start.md and its picture, made from the results of `make bench-start`."""

from __future__ import annotations

from pathlib import Path

from bench.start.error_table import errors_text
from bench.start.plot import picture
from bench.start.results import RESULTS, Results, parse_results
from bench.start.tables import machine_text, page_tables

START_PAGE = Path(__file__).parents[1] / "start.md"
START_PICTURE = Path(__file__).parents[1] / "start.svg"
_BEGIN, _END = "<!-- measured -->\n", "<!-- end of measured -->\n"


def results() -> Results:
    """Return the results that the repository has."""
    return parse_results(RESULTS.read_text())


def with_measured(text: str, measured: Results) -> str:
    """Return the page with the tables between its markers.

    Raises:
        ValueError: a marker is missing.
    """
    before, found, rest = text.partition(_BEGIN)
    _, closed, after = rest.partition(_END)
    if not found or not closed:
        raise ValueError(f"no {_BEGIN.strip()} or no {_END.strip()} in the text")
    parts = [machine_text(measured), "![Start times by way, workload and line](start.svg)"]
    parts += [page_tables(measured), errors_text(measured)]
    return f"{before}{_BEGIN}\n" + "\n\n".join(parts) + f"\n\n{_END}{after}"


def start_picture(measured: Results) -> str:
    """Return the picture as SVG."""
    return picture(measured)
