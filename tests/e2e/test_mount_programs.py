"""Programs in and over a mounted image: a real one with hundreds of files, those that walk it, and many readers."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from local.sample_program import GREETING, ProgramFile, program_command, program_environment, program_files
from soci.image.indexed import fetch_ztoc, open_image
from soci.oci.reference import parse_reference
from soci.places.open import open_source
from soci.start.profile import parse_profile
from soci.ztoc.decode import decode_ztoc
from soci.ztoc.model import Span
from tests.builders import image_of, layout_of, with_soci_index
from tests.mounts import mounted, needs_fuse
from tests.tar_model import shown_in

pytestmark = needs_fuse

MIB = 1 << 20
READERS = 8

READER = """
import os, random, sys, time
root, seconds, *names = sys.argv[1:]
random.seed(os.getpid())
ends = time.monotonic() + float(seconds)
reads = 0
while time.monotonic() < ends:
    name, real = random.choice(names).split("=")
    with open(os.path.join(root, name), "rb") as mounted, open(real, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        assert os.fstat(mounted.fileno()).st_size == size, name
        for _ in range(random.choice((1, 5))):
            at, count = random.randrange(size + 1), random.choice((1, 4096, 300_000))
            assert os.pread(mounted.fileno(), count, at) == os.pread(file.fileno(), count, at), (name, at, count)
            reads += 1
    if random.random() < 0.1:
        assert len(os.listdir(os.path.dirname(os.path.join(root, name)))) > 0
print(reads)
"""

as_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can change the root directory and mount overlays"
)


@pytest.fixture(scope="module")
def files():
    return program_files()


@pytest.fixture(scope="module")
def image(files, tmp_path_factory):
    """An image with this machine's Python in a layer, cut into many spans."""
    layer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=layer, mode="wb", compresslevel=1, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        for one in files:
            archive.add(one.path, one.name)
    built = with_soci_index(image_of(layer.getvalue()), span_size_bytes=MIB)
    return f"oci:{layout_of(tmp_path_factory.mktemp('program'), built)}:latest"


def run_program(root: Path) -> None:
    done = subprocess.run(
        program_command(root), env=program_environment(root), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(GREETING)


@pytest.fixture(scope="module")
def spans(image):
    source = open_source(parse_reference(image))
    [layer] = open_image(source).layers
    assert layer.ztoc is not None
    return decode_ztoc(fetch_ztoc(source, layer.ztoc)).compression.spans


def is_once(fetched_bytes: int, spans: Sequence[Span], kept: set[int]) -> bool:
    """Whether so many bytes are those spans, each once. Neighbours may share a byte, and one request for both."""
    total = sum(spans[number].end - spans[number].start for number in kept)
    return total - len(kept) <= fetched_bytes <= total


def test_two_mounts_at_a_time_fetch_each_span_once(image, spans, tmp_path):
    options = ("--cache", tmp_path / "cache", "--json")
    with mounted(image, tmp_path / "a", *options) as one, mounted(image, tmp_path / "b", *options) as other:
        programs = [
            subprocess.Popen(program_command(root), env=program_environment(root), stdout=subprocess.DEVNULL)
            for root in (one.directory, other.directory)
        ]
        assert [program.wait(timeout=60) for program in programs] == [0, 0]
        one.end()
        other.end()

    counts = [json.loads(mount.output) for mount in (one, other)]
    kept = {int(path.name.rpartition("-")[2]) for path in (tmp_path / "cache").glob("*-*")}
    assert sum(count["spans_fetched"] for count in counts) == len(kept)
    assert is_once(sum(count["bytes_fetched"] for count in counts), spans, kept)


def test_each_span_is_fetched_once_also_by_the_next_mount(image, spans, tmp_path):
    options = ("--cache", tmp_path / "cache", "--json", "--record", tmp_path / "profile.json")
    counts = []
    for number in range(2):
        with mounted(image, tmp_path / f"root{number}", *options) as one:
            run_program(one.directory)
            run_program(one.directory)
            one.end()
            counts.append(json.loads(one.output))

    first, second = counts
    profile = parse_profile((tmp_path / "profile.json").read_bytes())
    needed = {span for read in profile.files for span in read.spans}
    kept = {int(path.name.rpartition("-")[2]) for path in (tmp_path / "cache").glob("*-*")}
    assert len(profile.files) > 150
    assert needed <= kept
    assert first["spans_fetched"] == len(kept)
    assert is_once(first["bytes_fetched"], spans, kept)
    assert first["failures"] == 0
    assert second == {**second, "requests": 0, "bytes_fetched": 0, "spans_fetched": 0, "failures": 0}


@as_root
def test_a_program_runs_with_the_mount_as_its_root_directory(image, tmp_path):
    with mounted(image, tmp_path / "root") as one:
        command = [part.removeprefix(str(one.directory)) for part in program_command(one.directory)]
        environment = {"PATH": os.environ["PATH"], "PYTHONHOME": "/usr/local", "PYTHONNOUSERSITE": "1"}
        done = subprocess.run(
            ["chroot", one.directory, *command], env=environment, capture_output=True, text=True, check=True
        )

    assert done.stdout.startswith(GREETING)


@as_root
def test_an_overlay_makes_it_writable(image, tmp_path):
    with mounted(image, tmp_path / "root") as one, ExitStack() as stack:
        upper, work, merged = (tmp_path / name for name in ("upper", "work", "merged"))
        for path in (upper, work, merged):
            path.mkdir()
        options = f"lowerdir={one.directory},upperdir={upper},workdir={work}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, merged], check=True)
        stack.callback(subprocess.run, ["umount", merged], check=True)

        (merged / "usr/local/new").write_text("written")
        run_program(merged)

        assert (upper / "usr/local/new").read_text() == "written"
        assert not (one.directory / "usr/local/new").exists()


def test_programs_that_walk_find_nothing_wrong(image, files, tmp_path):
    copy = tmp_path / "copy"
    with mounted(image, tmp_path / "root") as one:
        root = one.directory
        found = output("find", root, "-type", "f", "-size", "+0")
        packed = subprocess.run(["tar", "-C", root, "-cf", "-", "."], check=True, capture_output=True)
        subprocess.run(["rsync", "-aHX", f"{root}/", copy], check=True, capture_output=True)
        used = int(output("du", "-s", "--apparent-size", "--block-size=1", root / "usr/local/bin").split()[0])
        seen = shown_in(root)
        errors = one.errors
        assert one.end() == 0

    assert errors == one.errors == packed.stderr.decode() == ""
    assert sorted(found.splitlines()) == sorted(
        str(root / file.name) for file in files if file.path.stat().st_size
    )
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        contents = {member.name[2:]: archive.extractfile(member) for member in archive if member.isreg()}
    assert {name: file.read() for name, file in contents.items() if file} == {
        file.name: file.path.read_bytes() for file in files
    }
    assert used == 4096 + sum(file.path.stat().st_size for file in files if "/bin/" in file.name)
    assert_same_but_owners(shown_in(copy), seen)


def assert_same_but_owners(copied, seen) -> None:
    """Who is not root cannot give files away; a directory without an entry has the time 0, which rsync keeps."""
    for path, shown in seen.items():
        other = copied[path]
        assert (other.mode, other.time_ns, other.links) == (shown.mode, shown.time_ns, shown.links), path
        assert (other.size, other.content, other.target) == (shown.size, shown.content, shown.target), path
    assert copied.keys() == seen.keys()


def output(*command: object) -> str:
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("seconds", [2, pytest.param(60, marks=pytest.mark.exhaustive)])
def test_readers_side_by_side_get_the_right_bytes(seconds, image, files: tuple[ProgramFile, ...], tmp_path):
    chosen = [f"{file.name}={file.path}" for file in files]
    with mounted(image, tmp_path / "root", "--cache-size", "64MiB") as one:
        command = [sys.executable, "-S", "-c", READER, str(one.directory), str(seconds), *chosen]
        readers = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(READERS)
        ]
        ended = [(*reader.communicate(timeout=seconds + 60), reader.returncode) for reader in readers]
        assert one.end() == 0

    assert [error for _, error, status in ended if status] == []
    assert all(int(reads) > 0 for reads, _, _ in ended)
    assert one.errors == ""
