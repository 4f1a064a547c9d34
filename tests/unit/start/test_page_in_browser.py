"""The page in a real browser, where this machine has one: nothing is asked of anyone, and nothing is cut off.

Debian's package `chromium` is too large to be needed by every run of the tests. Without it this module has no tests.
"""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import zlib

import pytest

from soci.start.page import make_page
from tests.builders import file, noise
from tests.unit.start.starts import SPAN, read, report_of

CHROMIUM = shutil.which("chromium") or ""
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--host-resolver-rules=MAP * ~NOTFOUND",
]
NO_PAGE = "not an origin"
"""What asks for something for the browser itself, such as an update."""

LIGHT, DARK = 1, 0
"""Chromium's numbers for the preferred colour scheme."""


def page_file(directory):
    """A page with long names, many steps and long times."""
    names = [f"usr/local/lib/python3.11/dist-packages/{'n' * 40}{n}/module.so" for n in range(30)]
    layer = [file(name, noise(SPAN // 2, name)) for name in names]
    reads = [read(f"/{name}", first_ms=900 * n) for n, name in enumerate(names)]
    path = directory / "page.html"
    path.write_bytes(make_page(report_of(reads, layer, name=f"registry.example.com/{'team/' * 20}app:1")))
    return path


def browse(directory, page, *flags):
    subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={directory / 'profile'}", *flags, page.as_uri()],
        check=True,
        capture_output=True,
        timeout=60,
    )


def pixels_of(png: bytes) -> list[bytes]:
    """The rows of a PNG without interlacing, three or four bytes a pixel (PNG specification, third edition)."""
    at, data, width, channels = 8, b"", 0, 3
    while at < len(png):
        size, kind = struct.unpack_from(">I4s", png, at)
        body = png[at + 8 : at + 8 + size]
        if kind == b"IHDR":
            width, _, depth, colour = struct.unpack_from(">IIBB", body)
            assert depth == 8
            channels = {2: 3, 6: 4}[colour]
        elif kind == b"IDAT":
            data += body
        at += 12 + size
    raw, step = zlib.decompress(data), width * channels
    rows, before = [], bytearray(step)
    for start in range(0, len(raw), step + 1):
        before = _unfiltered(raw[start], raw[start + 1 : start + 1 + step], before, channels)
        rows.append(bytes(before))
    return [b"".join(row[n : n + 3] for n in range(0, step, channels)) for row in rows]


def _unfiltered(kind: int, row: bytes, above: bytearray, step: int) -> bytearray:
    made = bytearray(row)
    for n in range(len(made)):
        left, up = made[n - step] if n >= step else 0, above[n]
        corner = above[n - step] if n >= step else 0
        guess = left + up - corner
        nearest = min((left, up, corner), key=lambda value: abs(guess - value))
        made[n] = (made[n] + (0, left, up, (left + up) // 2, nearest)[kind]) & 255
    return made


if CHROMIUM:

    @pytest.mark.exhaustive
    @pytest.mark.parametrize("width", [400, 1280])
    @pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
    def test_nothing_is_cut_off_at_the_right_and_the_scheme_is_the_readers(tmp_path, width, scheme):
        picture = tmp_path / "page.png"

        browse(
            tmp_path,
            page_file(tmp_path),
            f"--blink-settings=preferredColorScheme={scheme}",
            f"--window-size={width},1500",
            f"--screenshot={picture}",
        )

        rows = pixels_of(picture.read_bytes())
        ground = rows[0][:3]
        assert (sum(ground) > 3 * 200) == (scheme == LIGHT)
        margin = 8 * 3  # the page has a margin of 16 pixels
        assert all(row[-margin:] == ground * 8 for row in rows)
        assert len(set(b"".join(rows)[::997])) > 10  # something is drawn

    @pytest.mark.exhaustive
    @pytest.mark.parametrize("has_picture", [False, True], ids=["the page", "a page with a picture"])
    def test_the_browser_asks_no_one_for_anything(tmp_path, has_picture):
        page, log = page_file(tmp_path), tmp_path / "net.json"
        if has_picture:  # it would be seen
            page.write_text('<img src="http://example.invalid/x.png">')

        browse(tmp_path, page, f"--log-net-log={log}", "--dump-dom")

        events = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
        by_pages = [one["url"] for one in events if one.get("initiator", NO_PAGE) != NO_PAGE]
        assert by_pages == (["http://example.invalid/x.png"] if has_picture else [])
