"""The demo with a small image: it prints the right result and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path

from rich.console import Console

from local.demo.__main__ import INTERRUPTED, run
from local.demo.service import start_system
from local.demo.start import why_no_mount

ROOT = Path(__file__).parents[2]


def test_the_demo_prints_what_happened_and_its_figures_add_up(tmp_path):
    settings = {"rules": {"min_image_size_bytes": 2_000_000}, "index": {"min_layer_size_bytes": 1 << 20}}
    out = StringIO()
    with ThreadPoolExecutor(1) as pool:
        run(
            Console(file=out, width=80),
            pool.submit(start_system, settings),
            tmp_path / "demo",
            wanted_file="__future__.py",
            layer_limit_bytes=6 << 20,
            convert_flags=["--min-layer-size", "1MiB"],
        )

    text = out.getvalue()
    assert "\x1b" not in text, "no colours where they mean nothing"
    rows = re.findall(r"^   (shop/\S+) +(.+?)  +(indexed|skipped|tagged) +([a-z-]*)", text, re.MULTILINE)
    assert rows == [
        ("shop/app:1.0", "push", "indexed", ""),
        ("shop/app:1.0-soci", "the new tag", "skipped", "own-artifact"),
        ("shop/app:1.0", "push again", "skipped", "already-indexed"),
        ("shop/tools:1.0", "a small one", "tagged", "image-too-small"),
        ("shop/tools:1.0-soci", "the new tag", "skipped", "own-artifact"),
        ("shop/app:1.0", "by hand", "indexed", ""),
        *([] if why_no_mount() else [("shop/app:1.0", "its profile", "indexed", "")]),
    ]
    read, whole = re.findall(r"([\d.]+) MB were read out of ([\d.]+) MB", text)[0]
    assert 0 < float(read) < float(whole)
    assert (
        len(re.findall(r"^   (Filter|Index layers|Publish) +█* *[█ ]* +[\d.]+ m?s ✓", text, re.MULTILINE)) > 5
    )
    assert "made the same image index" in text
    check_starts(text)


def check_starts(text: str) -> None:
    """The first start is shown, and the second one finds all it needs prefetched."""
    if reason := why_no_mount():
        assert reason in text
        return
    starts = re.findall(r"^   [\d.]+ s \(mount .+?\), ([\d.]+) MB in (\d+) requests$", text, re.MULTILINE)
    (first_bytes, first_requests), (second_bytes, second_requests) = starts
    assert float(second_bytes) <= float(first_bytes) * 1.1
    assert int(second_requests) < int(first_requests)
    assert re.search(r"^   needed: [\d.]+ MB of [\d.]+ MB", text, re.MULTILINE)
    assert re.search(r"^   The start took [\d.]+ s with prefetch, [\d.]+ s without", text, re.MULTILINE)


def test_an_interrupt_ends_the_demo_and_all_its_processes(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-m", "local.demo"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        try:
            before = list(iter_until(demo.stdout, "its event arrives"))
            started = processes_of(demo.pid)
            demo.send_signal(signal.SIGINT)
            rest = demo.communicate(timeout=60)[0]
        finally:
            demo.kill()

    assert demo.returncode == INTERRUPTED, "".join(before) + rest
    assert "Traceback" not in rest
    assert started, "functions were at work"
    deadline = time.monotonic() + 10
    while (
        alive := [pid for pid in started if Path(f"/proc/{pid}").exists()]
    ) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alive == []


def iter_until(lines: Iterable[str], text: str) -> Iterator[str]:
    """Yield lines up to the one that has a text."""
    for line in lines:
        yield line
        if text in line:
            return


def processes_of(parent: int) -> set[int]:
    """All processes below one."""
    found: set[int] = set()
    todo = [parent]
    while todo:
        pid = todo.pop()
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):  # a thread or a process that has just ended
                below = {int(child) for child in children.read_text().split()}
                todo += below - found
                found |= below
    return found
