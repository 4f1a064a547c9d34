"""An independent oracle: what Python's tarfile extracts is what a zTOC must give."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

import pytest

from soci.ztoc.decode import decode_ztoc
from soci.ztoc.extract import SpanReader
from soci.ztoc.model import FileEntry
from soci.ztoc.paths import clean_path
from tests.builders import index_layer

LAYERS = Path(__file__).parent / "layers"
EXPECTED = json.loads((LAYERS / "expected.json").read_text())
LEFT_OUT = {"sparse-posix.tar.gz"}
"""Built by the format's owner, but unreadable by any reader."""

READABLE = sorted(
    name
    for name, expected in EXPECTED.items()
    if name not in LEFT_OUT and not any("error" in result for result in expected["results"])
)
SPAN_SIZES = sorted({result["span_size"] for expected in EXPECTED.values() for result in expected["results"]})


def extracted(path: Path) -> dict[bytes, str]:
    """The digest of each file that tarfile extracts, by its cleaned name; hard links have their target's."""
    with tarfile.open(path, errorlevel=2) as archive:
        files = {}
        for member in archive.getmembers():
            content = archive.extractfile(member) if member.isreg() or member.islnk() else None
            if content is not None:
                name = member.name.encode("utf-8", "surrogateescape")
                files[clean_path(name)] = hashlib.sha256(content.read()).hexdigest()
    return files


def read_back(path: Path, span_size_bytes: int) -> dict[bytes, str]:
    """The same by way of the zTOC, span by span."""
    layer = path.read_bytes()
    ztoc = decode_ztoc(index_layer(layer, span_size_bytes=span_size_bytes).ztoc)
    reader = SpanReader(ztoc.compression, lambda start, end: layer[start:end])
    entries = {clean_path(entry.name): entry for entry in ztoc.files}
    files = {}
    for name, entry in entries.items():
        if entry.type in ("reg", "hardlink"):
            content = hashlib.sha256()
            for piece in reader.read_file(_with_data(entries, entry)):
                content.update(piece)
            files[name] = content.hexdigest()
    return files


def _with_data(entries: dict[bytes, FileEntry], entry: FileEntry) -> FileEntry:
    while entry.type == "hardlink":
        entry = entries[clean_path(entry.link_name)]
    return entry


def test_the_golden_set_has_layers_to_read():
    assert len(READABLE) >= 20
    assert len(SPAN_SIZES) == 3


@pytest.mark.parametrize("span_size_bytes", SPAN_SIZES)
@pytest.mark.parametrize("name", READABLE)
def test_each_file_read_through_the_ztoc_is_what_tarfile_extracts(name, span_size_bytes):
    expected = extracted(LAYERS / name)

    assert read_back(LAYERS / name, span_size_bytes) == expected
