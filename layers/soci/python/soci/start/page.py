"""The report as one HTML page. It asks no one for anything: no script, no font, no address; a policy forbids them.

The bars are drawn as SVG, so they are printed too. Height tells the same as colour.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from soci.image.filesystem import shown
from soci.start.page_layers import layer_rows, swatch
from soci.start.page_style import STYLE
from soci.start.quantities import mb_text, mib_text, of_text
from soci.start.start_report import StartReport, largest_reads, share_steps

MAX_FILES = 100
"""The files with a row of their own. The others are counted."""

_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
"""


def make_page(report: StartReport) -> bytes:
    """Return the page. Its size is bounded however many spans and files there are."""
    return "".join(_parts(report)).encode()


def _parts(report: StartReport) -> Iterator[str]:
    yield _HEAD.format(title=f"Start of {_text(report.name)}", style=STYLE)
    yield from _summary(report)
    yield from _ways(report)
    yield "<h2>What to do</h2>\n<dl>\n"
    for one in report.advice:
        yield f"<dt>{_text(one.topic.replace('-', ' '))}</dt><dd>{_text(one.sentence)}</dd>\n"
    yield "</dl>\n"
    yield from _layers(report)
    yield from _files(report)
    yield "</main>\n</body>\n</html>\n"


def _summary(report: StartReport) -> Iterator[str]:
    profile, needs = report.profile, report.start.needs
    yield f"<h1>Start of <code>{_text(report.name)}</code></h1>\n"
    yield f'<p class="soft">{_text(report.platform)}, <code>{_text(report.image)}</code></p>\n'
    program = f"<code>{_text(shown(profile.program))}</code> " if profile.program else ""
    starts = "1 start" if profile.starts == 1 else f"{profile.starts:,} starts"
    yield f"<p>{program}recorded in {starts}: {len(needs.files):,} files read"
    if needs.missing:
        yield f", {len(needs.missing):,} more of the profile are not in this image"
    yield f". Needed: <strong>{of_text(report.start.needed_bytes, report.start.compressed_bytes)}</strong>, "
    yield f"{report.needed_spans:,} of {report.all_spans:,} spans.</p>\n"


def _ways(report: StartReport) -> Iterator[str]:
    start = report.start
    yield "<h2>Ready in</h2>\n"
    yield f'<p class="soft">Estimated at {start.network}, reader: {_text(start.reader.name)}. '
    yield f"{_key('pull')}pull, {_key('run')}run</p>\n"
    yield '<ol class="ways">\n'
    longest = max((way.estimate.seconds for way in report.ways), default=0) or 1
    fastest = min((way.estimate.seconds for way in report.ways), default=0)
    for way in report.ways:
        made = way.estimate
        pull, run = (1000 * seconds / longest for seconds in (made.pull_seconds, made.run_seconds))
        split = f"pull {made.pull_seconds:.1f} s, run {made.run_seconds:.1f} s"
        kind = ' class="fastest"' if made.seconds == fastest else ""
        mark = " (fastest)" if made.seconds == fastest else ""
        yield (
            f"<li><span{kind}>{_text(way.label)}{mark}</span><span{kind}>{made.seconds:.1f} s</span>"
            f'<svg viewBox="0 0 1000 10" preserveAspectRatio="none" role="img" aria-label="{split}">'
            f'<rect class="pull" width="{pull:.1f}" height="10"/>'
            f'<rect class="run" x="{pull:.1f}" y="2" width="{run:.1f}" height="6"/></svg>'
            f'<span class="soft">{split}; {mb_text(made.bytes)} in {made.requests:,} requests</span></li>\n'
        )
    yield "</ol>\n"


def _key(part: str) -> str:
    """Return the swatch of a part of a bar: the run's is lower than the pull's."""
    y, height = (0, 10) if part == "pull" else (2, 6)
    return (
        '<svg class="swatch" viewBox="0 0 10 10" aria-hidden="true">'
        f'<rect class="{part}" y="{y}" width="10" height="{height}"/></svg>'
    )


def _layers(report: StartReport) -> Iterator[str]:
    yield f"<h2>Layers</h2>\n<p>Each row is a layer, each bar a span of {mib_text(report.start.span_size_bytes)} or "
    yield "several, as wide as its compressed bytes. The earlier the start needs it, the higher the bar.</p>\n"
    if report.steps.starts_ms:
        yield from _steps(report)
    yield from layer_rows(report)


def _steps(report: StartReport) -> Iterator[str]:
    yield "<table><caption>What is needed first in each step of the start</caption>\n"
    yield '<tr><th>When</th><th>Spans</th><th class="wide">Bytes</th><th>So far</th></tr>\n'
    so_far = 0
    for share in share_steps(report):
        so_far += share.size_bytes
        yield f"<tr><td>{swatch(share.step)}{report.steps.interval_text(share.step)}</td><td>{share.spans:,}</td>"
        yield f'<td class="wide">{mb_text(share.size_bytes)}</td><td>{mb_text(so_far)}</td></tr>\n'
    yield "</table>\n"


def _files(report: StartReport) -> Iterator[str]:
    files = largest_reads(report, MAX_FILES)
    yield "<h2>Files</h2>\n"
    if not files:
        yield "<p>The start reads no file of this image.</p>\n"
        return
    yield "<table><caption>By the bytes that the start reads of them</caption>\n<tr><th>File</th><th>Read</th>"
    yield '<th>Size</th><th class="wide">Layer</th><th class="wide">First read</th></tr>\n'
    for need in files:
        size = need.node.data.uncompressed_size if need.node.data else 0
        yield f'<tr><td class="path"><code>{_text(shown(need.read.path))}</code></td>'
        yield f"<td>{mb_text(need.size_bytes)}</td><td>{mb_text(size)}</td>"
        yield f'<td class="wide">{need.node.data_layer}</td><td class="wide">{need.read.first_ms:,} ms</td></tr>\n'
    others = len(report.start.needs.files) - len(files)
    if others:
        read = sum(need.size_bytes for need in report.start.needs.files)
        rest = mb_text(read - sum(need.size_bytes for need in files))
        yield f'<tr><td>{others:,} other files</td><td>{rest}</td><td></td><td class="wide"></td>'
        yield '<td class="wide"></td></tr>\n'
    yield "</table>\n"


def _text(value: object) -> str:
    """Return text for HTML. Control characters are escaped too: they could turn the direction of what follows."""
    printable = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in str(value))
    return escape(printable)
