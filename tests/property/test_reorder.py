"""A reordered layer unpacks to the same files as the layer, on top of any other layer, in any unpacker."""

from __future__ import annotations

import gzip
import io
import os
import stat
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from soci.image.filesystem import FileSystem
from soci.ztoc.paths import clean_path
from tests.builders import (
    Member,
    directory,
    file,
    hardlink,
    image_of,
    layout_of,
    opaque,
    symlink,
    tar_of,
    whiteout,
)
from tests.unit.ztoc.reordered import entries_of, plan_for, rearranged

EXAMPLES = settings().max_examples
MANY_STAY = [HealthCheck.filter_too_much]
"""Most random layers have nothing that may move."""

OLD = 1_000_000_000
"""Times of entries. What an unpacker makes by itself is newer."""

FOLDERS = st.lists(st.sampled_from("abc"), min_size=1, max_size=2).map("/".join)
LEAVES = st.sampled_from("abfghijkl")
"""Few names, so that paths repeat. Now and then a directory and a file have one name."""


@st.composite
def layers(draw: st.DrawFn, *, with_whiteouts: bool) -> bytes:
    """A tar with entries in any order: repeated paths, links in both directions, entries below links and files."""
    made: list[Member] = []
    for number in range(draw(st.integers(3, 12))):
        facts = {"mtime": OLD + number, "mode": draw(st.sampled_from([0o755, 0o600]))}
        folder = draw(st.just("") | FOLDERS)
        path = f"{folder}/{draw(LEAVES)}".removeprefix("/")
        kinds = ["file", "file", "same", "other", "directory", "hardlink"]
        if draw(st.integers(0, 4)) == 0:
            kinds = ["symlink", "whiteout", "opaque"] if with_whiteouts else ["symlink"]
        match draw(st.sampled_from(kinds)):
            case "file":
                member = file(path, b"%d" % number * draw(st.sampled_from([1, 600])), **facts)
            case "directory":
                member = directory((folder or ".") + "/", **facts)
            case "hardlink":
                before = [one.info.name for one in made] or ["f"]
                member = hardlink(path, draw(st.sampled_from([*before, "b/g"])), **facts)
            case "symlink":
                member = symlink(path, draw(FOLDERS), **facts)
            case "whiteout":
                member = whiteout(path)
            case "opaque":
                member = opaque(folder or ".")
            case content:
                member = file(path, content.encode(), **facts)
        made.append(member)
    return tar_of(*made)


LOWER, UPPER = layers(with_whiteouts=False), layers(with_whiteouts=True)
WANTED = st.lists(st.integers(0, 11), min_size=1, max_size=5)


def reordered_of(lower: bytes, upper: bytes, wanted: Sequence[int]) -> bytes:
    names = [entry.name.decode() for entry in entries_of(upper)]
    links = {clean_path(entry.name) for entry in entries_of(lower) if entry.type == "symlink"}
    made = plan_for(upper, [names[number % len(names)] for number in wanted], lower_links=links)
    new = rearranged(upper, made)
    assume(new != upper)
    assert sorted(map(_apart, entries_of(new))) == sorted(map(_apart, entries_of(upper)))
    return new


def _apart(entry):
    """An entry without its place."""
    return entry._replace(uncompressed_offset=0)


def merged(lower: bytes, upper: bytes) -> list[tuple[object, ...]]:
    """The files as a container sees them, with their content."""
    tars = (lower, upper)
    found = []
    for node in FileSystem.of([entries_of(lower), entries_of(upper)]).walk():
        data, content = node.data, b""
        if data is not None and data.type == "reg":
            start = data.uncompressed_offset
            content = tars[node.data_layer][start : start + data.uncompressed_size]
        entries = (_apart(entry) if entry else None for entry in (node.entry, data))
        found.append((node.path, node.layer, node.data_layer, *entries, content))
    return found


def files_in(root: Path) -> dict[str, tuple[object, ...]]:
    """All files of a directory with attributes, content, and the first path of the same inode."""
    found: dict[str, tuple[object, ...]] = {}
    inodes: dict[int, str] = {}
    for folder, folders, names in os.walk(root):
        for name in sorted((*folders, *names)):
            path = Path(folder) / name
            facts = path.lstat()
            content: object = b""
            if stat.S_ISREG(facts.st_mode):
                content = path.read_bytes()
            elif stat.S_ISLNK(facts.st_mode):
                content = path.readlink()
            time = facts.st_mtime if facts.st_mtime < OLD + 1000 else "now"
            at = str(path.relative_to(root))
            first = inodes.setdefault(facts.st_ino, at)
            found[at] = (facts.st_mode, facts.st_uid, facts.st_nlink, time, content, first)
    return found


def by_tarfile(_: bytes, upper: bytes, to: Path) -> bool:
    try:
        with tarfile.open(fileobj=io.BytesIO(upper)) as archive:
            archive.extractall(to, filter="fully_trusted")  # noqa: S202 - our own tar
    except (OSError, KeyError, tarfile.TarError):
        return False
    return True


def by_tar(_: bytes, upper: bytes, to: Path) -> bool:
    # Without the option, tar gives a directory its time as soon as the next entry lies elsewhere.
    command = ["tar", "-x", "--delay-directory-restore", "-C", str(to)]
    return subprocess.run(command, input=upper, capture_output=True, check=False, timeout=60).returncode == 0


def by_umoci(lower: bytes, upper: bytes, to: Path) -> bool:
    layers = (gzip.compress(layer, 1, mtime=0) for layer in (lower, upper))
    layout = layout_of(to.parent / "layout", image_of(*layers))
    command = ["umoci", "raw", "unpack", "--image", f"{layout}:latest", str(to)]
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0


UNPACKERS = {"tarfile": (by_tarfile, 3), "tar": (by_tar, 5), "umoci": (by_umoci, 10)}
"""Each with how many times fewer examples than usual it gets."""


@settings(suppress_health_check=MANY_STAY)
@given(LOWER, UPPER, WANTED)
def test_a_reordered_layer_gives_the_same_merged_files(lower, upper, wanted):
    new = reordered_of(lower, upper, wanted)
    assert merged(lower, new) == merged(lower, upper)


@pytest.mark.parametrize(("unpack", "fewer"), UNPACKERS.values(), ids=UNPACKERS.keys())
def test_a_reordered_layer_unpacks_to_the_same_files(unpack, fewer):
    @settings(max_examples=max(EXAMPLES // fewer, 5), suppress_health_check=MANY_STAY)
    @given(LOWER, UPPER, WANTED)
    def check(lower, upper, wanted):
        new = reordered_of(lower, upper, wanted)
        with TemporaryDirectory() as scratch:
            results = []
            for name, tar in (("before", upper), ("after", new)):
                to = Path(scratch, name, "root")
                to.parent.mkdir()
                to.mkdir()
                assume(unpack(lower, tar, to) or name == "after")
                results.append(files_in(to))
            before, after = results
            assert after == before

    check()
