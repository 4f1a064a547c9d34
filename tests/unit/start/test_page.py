from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from soci.oci.digest import digest_of
from soci.start.loads import LayerShape
from soci.start.needs import SpanNeed, StartNeeds
from soci.start.page import MAX_FILES, make_page
from soci.start.page_layers import MAX_CELLS, MAX_LAYERS, bar_height
from soci.start.page_style import STYLE
from soci.start.start_report import make_report
from soci.start.steps import MAX_STEPS
from soci.ztoc.model import Span
from tests.builders import file, noise
from tests.unit.start.starts import SPAN, read, report_of

LAYER = [file("a", noise(4 * SPAN - 512)), file("b", noise(4 * SPAN - 1536))]
HOSTILE = "</code><script>alert(1)</script><img src=x onerror=\"a\" style='b'>&\u202e\x1b[31m\n"

_VOID = {"meta"}


class Page(HTMLParser):
    """A page as its elements and its text. Every element must be closed."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(data.decode())
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] != "style":
            self.text += data

    def with_class(self, name):
        return [
            attributes for _, attributes in self.elements if name in (attributes.get("class") or "").split()
        ]


def page_of(*reads, layers=(LAYER,), **options):
    return Page(make_page(report_of(list(reads), *layers, **options)))


def test_the_page_has_a_row_for_each_layer_and_a_bar_for_each_span():
    page = page_of(read("/a", (0, 9, 5), (2 * SPAN, 2 * SPAN + 9, 90)), read("/b", (0, 9, 9)))

    (row,) = page.with_class("layer")
    assert row["role"] == "img"
    assert row["aria-label"] == "Layer 0: 3 of 8 spans needed, 0.2 MB of 0.5 MB (38 %)"
    assert len(page.with_class("none")) == 5 + 3  # and three in the legend
    assert [len(page.with_class(f"s{step}")) for step in range(3)] == [2, 2, 2]
    assert "span 2, 65.5 kB: first needed at 90 ms" in page.text
    assert "Needed: 0.2 MB of 0.5 MB (38 %), 3 of 8 spans." in page.text


def test_the_page_has_all_ways_with_their_numbers_and_the_advice():
    report = report_of([read("/a")], LAYER)
    page = Page(make_page(report))

    for way in report.ways:
        assert way.label in page.text
        assert f"pull {way.estimate.pull_seconds:.1f} s, run {way.estimate.run_seconds:.1f} s" in page.text
    for one in report.advice:
        assert one.sentence in page.text
    assert page.text.count("(fastest)") >= 1
    assert "Estimated at 20 ms and 75 MB/s" in page.text


def test_files_come_by_the_bytes_that_are_read():
    page = page_of(read("/a", (0, 100, 1)), read("/b", (0, 5000, 2)), read("/gone"))

    assert page.text.index("/b5.0 kB") < page.text.index("/a0.1 kB")
    assert "2 files read, 1 more of the profile are not in this image" in page.text


def test_a_layer_without_a_ztoc_is_an_outline():
    page = page_of(read("/a"), layers=(LAYER, [file("c", b"c")]), without_ztoc=(1,))

    assert len(page.with_class("whole")) == 1
    assert "no zTOC: loaded whole" in page.text


@pytest.mark.parametrize("where", ["file", "name", "program"])
def test_text_from_outside_is_escaped(where):
    name = HOSTILE.strip("\n").replace("/", "|")
    layer = [file(name, b"x" * 100)]
    report = report_of([read(f"/{name}")], layer, name=HOSTILE if where == "name" else "app")
    if where == "program":
        report = replace(report, profile=replace(report.profile, program=f"/{name}".encode()))
    data = make_page(report)
    page = Page(data)

    names = {tag for tag, _ in page.elements}
    assert names & {"script", "img"} == set()
    assert not any(key.startswith("on") for _, attributes in page.elements for key in attributes)
    assert "alert(1)" in page.text
    assert not re.search("[\u202e\x1b]", data.decode())


def test_a_path_that_is_no_text_is_shown_with_escapes():
    layer = [file("x", b"1")]
    report = report_of([read("/x")], layer)
    need = report.start.needs.files[0]
    strange = replace(need, read=replace(need.read, path=b"/\xff\xfe"))
    needs = replace(report.start.needs, files=(strange,))

    page = Page(make_page(replace(report, start=replace(report.start, needs=needs))))

    assert "/\\xff\\xfe" in page.text


def test_the_page_asks_no_one_for_anything():
    data = make_page(report_of([read("/a")], LAYER)).decode()
    page = Page(data.encode())

    policy = next(one["content"] for _, one in page.elements if one.get("http-equiv"))
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    assert not re.search(r"https?:|//\w|url\(|@import|@font-face|<script|<link|<img|\bsrc=|\bhref=", data)


def test_the_page_has_colours_for_a_dark_screen_and_prints_light():
    assert "@media screen and (prefers-color-scheme: dark)" in STYLE
    assert "@media print" in STYLE
    assert "color-scheme" in make_page(report_of([], LAYER)).decode()


def luminance(colour: str) -> float:
    """The relative luminance of a colour (WCAG 2.2)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_have_contrast_and_the_steps_an_order_of_brightness(scheme):
    light, dark = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", light if scheme == "light" else dark))
    ground = colours["ground"]
    steps = [colours[f"s{number}"] for number in range(MAX_STEPS)]

    assert contrast(colours["ink"], ground) > 7
    assert contrast(colours["soft"], ground) > 4.5
    assert all(contrast(colours[name], ground) >= 3 for name in ("pull", "run", *(f"s{n}" for n in range(6))))
    # What is needed first stands out most.
    values = [contrast(step, ground) for step in steps]
    assert values == sorted(values, reverse=True)
    assert all(before / after > 1.1 for before, after in pairwise(values))


def test_height_tells_the_step_without_colour():
    heights = [bar_height(step) for step in range(MAX_STEPS)]

    assert heights == sorted(set(heights), reverse=True)
    assert heights[-1] > 20


def big_report(*, layers: int, spans: int, files: int):
    """A report on an image with many spans in each layer, and a start that reads many files."""
    report = report_of([read("/a")], LAYER)
    digest = digest_of(b"")
    shape = LayerShape(
        compressed_bytes=spans * 100,
        uncompressed_bytes=spans * 300,
        files=10,
        ztoc_bytes=10,
        spans=tuple(Span(100 * n, 100 * n + 100, 300 * n, 300 * n + 300, digest) for n in range(spans)),
    )
    one = report.start.needs.files[0]
    needs = StartNeeds(
        spans=tuple(
            SpanNeed(layer=n % layers, span=n // layers, first_ms=n) for n in range(layers * spans // 2)
        ),
        files=(one,) * files,
        missing=(),
    )
    start = replace(
        report.start,
        layers=(shape,) * layers,
        loads=(report.start.loads[0],) * layers,
        digests=(digest,) * layers,
        needs=needs,
    )
    return replace(make_report("app", digest, report.platform, report.profile, report.start), start=start)


@pytest.mark.parametrize(("layers", "spans"), [(1, 10_000), (100, 100), (2_000, 2)])
def test_the_page_is_bounded_for_many_spans_files_and_layers(layers, spans):
    data = make_page(big_report(layers=layers, spans=spans, files=100_000))
    page = Page(data)

    rects = [tag for tag, _ in page.elements if tag == "rect"]
    assert len(rects) <= MAX_CELLS + 50
    assert len(page.with_class("layer")) == min(layers, MAX_LAYERS)
    assert len(page.with_class("path")) == MAX_FILES
    assert "99,900 other files" in page.text
    assert len(data) < 1_500_000
