"""The cost of indexing besides time: each byte of a layer is read once, nothing is written, memory stays flat.

Each measurement runs in a process of its own, which looks at what the kernel has counted for it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from soci.settings import DEFAULT_MIN_LAYER_SIZE_BYTES
from tests.builders import file, gzip_of, image_of, layout_of, noise, tar_of

MIB = 1 << 20
CONTENT = noise(MIB)
LAYER = gzip_of(tar_of(*(file(f"f{n}", CONTENT[n:]) for n in range(24))), level=1)

COMMAND = """
import json, os, sys
opened = []

def note(event, args):
    if event == "open":
        opened.append((os.fsdecode(args[0]) if not isinstance(args[0], int) else args[0], args[2]))
    elif event in ("tempfile.mkstemp", "tempfile.mkdtemp"):
        opened.append((args[0], os.O_CREAT))

def counted():
    with open("/proc/self/io") as io:
        return dict(line.split(": ") for line in io)

from soci.cli.app import main
sys.addaudithook(note)
before = counted()
try:
    main()
except SystemExit as end:
    status = end.code or 0
after = counted()
print(json.dumps({
    "status": status,
    "read": int(after["rchar"]) - int(before["rchar"]),
    "opened": [(str(path), flags) for path, flags in opened],
}), file=sys.stderr)
"""


def run(script: str, *arguments: str | Path, **environment: str) -> dict[str, Any]:
    """Run a script in a new process. Return the JSON in the last line of its standard error."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
    )
    result: dict[str, Any] = json.loads(done.stderr.splitlines()[-1])
    return result


def written(opened: list[tuple[str, int]]) -> list[str]:
    return [path for path, flags in opened if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)]


def test_an_image_on_disk_is_converted_with_one_read_of_its_layer_and_no_file_but_blobs(tmp_path):
    layout = layout_of(tmp_path / "image", image_of(LAYER))
    before = {path for path in layout.rglob("*") if path.is_file()}
    temporary = tmp_path / "tmp"
    temporary.mkdir()

    result = run(COMMAND, "convert", f"oci:{layout}:latest", TMPDIR=str(temporary))

    layer_blob = max(before, key=lambda path: path.stat().st_size)
    assert len(LAYER) > 2 * DEFAULT_MIN_LAYER_SIZE_BYTES
    assert result["status"] == 0
    assert sum(Path(path) == layer_blob for path, _ in result["opened"]) == 1
    assert len(LAYER) <= result["read"] < 1.5 * len(LAYER), "the rest is Python's own modules"
    made = {path for path in layout.rglob("*") if path.is_file()} - before
    assert made
    assert sum(path.stat().st_size for path in made) < MIB
    assert list(temporary.iterdir()) == []
    assert all(path.startswith((str(layout), "/dev/")) for path in written(result["opened"]))


def test_only_new_blobs_and_the_entry_point_are_written(tmp_path):
    plain = tar_of(file("plain", CONTENT))
    layers = {len(layer): layer for layer in (LAYER, plain, gzip_of(tar_of(file("small", b"x"))))}
    layout = layout_of(tmp_path / "image", image_of(*layers.values()))
    before = {path for path in layout.rglob("*") if path.is_file()}

    result = run(COMMAND, "convert", f"oci:{layout}:latest", "--min-layer-size", "0")

    made = {path for path in layout.rglob("*") if path.is_file()} - before
    opened = [Path(path) for path in written(result["opened"]) if not path.startswith("/dev/")]
    assert result["status"] == 0
    assert len(opened) == len(made) + len(["index.json"])
    assert {path.parent for path in opened} == {layout, layout / "blobs/sha256"}
    assert not layers.keys() & {path.stat().st_size for path in made}


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_a_layer_file_is_read_once_and_only_the_ztoc_is_written(compression, tmp_path):
    layer = LAYER if compression == "gzip" else tar_of(*(file(f"f{n}", CONTENT) for n in range(24)))
    source, target = tmp_path / "layer", tmp_path / "ztoc"
    source.write_bytes(layer)

    result = run(COMMAND, "ztoc", source, "-o", target)

    assert result["status"] == 0
    assert len(layer) <= result["read"] < 1.5 * len(layer)
    assert sum(path == str(source) for path, _ in result["opened"]) == 1
    made = [path for path in written(result["opened"]) if not path.startswith("/dev/")]
    assert len(made) == 1
    assert Path(made[0]).parent == tmp_path
    assert {path.name for path in tmp_path.iterdir()} == {"layer", "ztoc"}


# --- memory ---------------------------------------------------------------------------------------------------

PEAK = """
import json, random, struct, sys, zlib
import zlib_ng.zlib_ng as fast
from soci.errors import DamagedLayer
from soci.reasons import LeftOut
from soci.ztoc.indexer import LayerIndexer
from soci.ztoc.model import LayerTask
from soci.oci.compression import Compression

MIB = 1 << 20
NOISE = random.Random(1).randbytes(MIB)

def header(size, name=b"f", type_=b"0"):
    block = bytearray(name.ljust(100, b"\\0") + b"0000644\\0" + b"0000000\\0" * 2 + bytes(388))
    block[124:136] = b"%011o\\0" % size if size < 8**11 else b"\\x80" + size.to_bytes(11, "big")
    block[136:148], block[148:156], block[156:157] = b"%011o\\0" % 0, b" " * 8, type_
    block[148:156] = b"%06o\\0 " % sum(block)
    return bytes(block)

def gzip_stored(pieces):
    crc = size = 0
    yield b"\\x1f\\x8b\\x08" + bytes(7)
    for piece in pieces:
        crc, size = fast.crc32(piece, crc), size + len(piece)
        yield b"".join(
            struct.pack("<BHH", 0, len(part), len(part) ^ 0xFFFF) + part
            for part in (piece[at : at + 65_535] for at in range(0, len(piece), 65_535))
        )
    yield struct.pack("<BHHII", 1, 0, 0xFFFF, crc, size & 0xFFFFFFFF)

def gzip_repeating(start, piece, times):
    # The same compressed bytes again and again: after a full flush no block looks back at those before it.
    deflater = zlib.compressobj(6, zlib.DEFLATED, -15)
    first = deflater.compress(start) + deflater.flush(zlib.Z_FULL_FLUSH)
    block = deflater.compress(piece) + deflater.flush(zlib.Z_FULL_FLUSH)
    crc, size = fast.crc32(start), len(start)
    yield b"\\x1f\\x8b\\x08" + bytes(7) + first
    for _ in range(times):
        crc, size = fast.crc32(piece, crc), size + len(piece)
        yield block
    yield struct.pack("<BHHII", 1, 0, 0xFFFF, crc, size & 0xFFFFFFFF)

def big_file(mebibytes):
    yield header(mebibytes * MIB)
    for _ in range(mebibytes):
        yield NOISE
    yield bytes(1024)

ZEROS = bytes(16 * MIB)
LONG_NAME = header(100, b"L", b"L") + b"n" * 100 + bytes(412)

LAYERS = {
    "noise": lambda size: gzip_stored(big_file(size)),
    "plain": lambda size: big_file(size),
    "zeros behind the end": lambda size: gzip_repeating(bytes(1024), ZEROS, size // 16),
    "zeros of a file": lambda size: gzip_repeating(header(size * MIB), ZEROS, size // 16),
    "zeros of 8 EiB": lambda size: gzip_repeating(header(2**63 - 1), ZEROS, size // 16),
    "a million long names": lambda size: gzip_repeating(LONG_NAME, LONG_NAME * 10_000, size * MIB // 10_240_000),
    "empty blocks": lambda size: [b"\\x1f\\x8b\\x08" + bytes(7)] + [b"\\0\\0\\0\\xff\\xff" * 100_000] * (2 * size),
    "empty members": lambda size: [zlib.compress(b"", wbits=31) * 1000] * (10 * size),
}

kind, size = sys.argv[1], int(sys.argv[2])
compression = Compression.UNCOMPRESSED if kind == "plain" else Compression.GZIP
task = LayerTask(compression=compression, span_size_bytes=4 * MIB, build_tool_identifier="t")
fed, ztoc, outcome = 0, 0, ""
try:
    with LayerIndexer(task) as indexer:
        for piece in LAYERS[kind](size):
            fed += len(piece)
            indexer.feed(piece)
        result = indexer.finish()
    outcome = result.reason if isinstance(result, LeftOut) else "indexed"
    ztoc = 0 if isinstance(result, LeftOut) else len(result.ztoc)
except DamagedLayer as error:
    outcome = str(error)
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({"peak": int(peak) * 1024, "ztoc": ztoc, "fed": fed, "outcome": outcome}), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def small() -> dict[str, Any]:
    """The memory of a process that indexes an almost empty layer."""
    return run(PEAK, "noise", "1")


@pytest.mark.parametrize(
    ("kind", "mebibytes", "outcome"),
    [
        ("noise", 200, "indexed"),
        ("plain", 200, "indexed"),
        ("zeros behind the end", 3072, "indexed"),
        ("zeros of a file", 3072, "indexed"),
        ("zeros of 8 EiB", 1024, "tar is cut short: an entry's data should reach byte"),
        ("a million long names", 1000, "indexed"),
        ("empty blocks", 2, "gzip stream is cut short"),
        ("empty members", 2, "empty-first-block"),
    ],
)
def test_memory_does_not_grow_with_the_layer_but_with_its_ztoc(kind, mebibytes, outcome, small):
    measured = run(PEAK, kind, str(mebibytes))

    assert measured["outcome"].startswith(outcome)
    assert measured["peak"] - small["peak"] - 2 * measured["ztoc"] < 48 * MIB


def test_a_bomb_of_zeros_is_small_before_it_goes_off():
    measured = run(PEAK, "zeros behind the end", "1024")

    assert measured["fed"] < 2 * MIB
