from __future__ import annotations

import subprocess
import tarfile

import pytest

from soci.errors import SpanUnreadable, TarError
from soci.mount.span_store import SpanStore
from soci.reasons import Reason
from tests.builders import directory, file, gzip_of, hardlink, image_of, noise, special, symlink, tar_of
from tests.unit.mount.stores import source_of, store_of

GLOBAL = tarfile.TarInfo.create_pax_global_header({"comment": "x", "uid": "99", "path": "nowhere"})


def contents_of(store: SpanStore) -> dict[bytes, bytes]:
    """The regular files, read in odd pieces."""
    found = {}
    for entry in store.layers[0].entries:
        if entry.type == "reg":
            content = store.open_file(0, entry)
            pieces = [content.read(at, 77_777) for at in range(0, content.size_bytes, 77_777)]
            found[entry.name] = b"".join(pieces)
    return found


def test_what_follows_a_global_header_is_there_and_the_header_is_ignored(tmp_path):
    members = [
        directory("d"),
        file("d/a", b"one", mtime=5, pax={"mtime": "5.25", "SCHILY.xattr.user.x": "\udcff\x01"}),
        symlink("s", "d/a"),
        hardlink("h", "d/a"),
        file("d/\udcff", b"two", uid=7, uname="someone"),
        special("p" * 300, tarfile.FIFOTYPE),
    ]
    with store_of(source_of(image_of(gzip_of(tar_of(*members)))), tmp_path) as store:
        want = store.layers[0].entries
    with store_of(source_of(image_of(gzip_of(GLOBAL + tar_of(*members)))), tmp_path) as store:
        got = store.layers[0]

        assert got.left_out is None
        assert contents_of(store) == {b"d/a": b"one", b"d/\xff": b"two"}
    names = [entry._replace(name=entry.name.rstrip(b"/")) for entry in want]
    assert names == [
        entry._replace(uncompressed_offset=entry.uncompressed_offset - len(GLOBAL)) for entry in got.entries
    ]


FORMATS = {
    "GNU": ["--format=gnu"],
    "pax 0.0": ["--format=posix", "--sparse-version=0.0"],
    "pax 0.1": ["--format=posix", "--sparse-version=0.1"],
    "pax 1.0": ["--format=posix", "--sparse-version=1.0"],
}


@pytest.fixture
def sparse_files(tmp_path) -> dict[bytes, bytes]:
    """Files with holes in front, between, behind, everywhere and nowhere; the first has many parts."""
    folder = tmp_path / "files"
    folder.mkdir()
    parts = {
        b"many": [(n * 100_000, noise(5_000, str(n))) for n in range(40)],
        b"front": [(1_000_000, b"end")],
        b"behind": [(0, b"begin" * 1000)],
        b"hole": [],
        b"full": [(0, noise(9_000))],
    }
    sizes = {b"behind": 3_000_001, b"hole": 500_000}
    for name, written in parts.items():
        with (folder / name.decode()).open("wb") as output:
            for at, data in written:
                output.seek(at)
                output.write(data)
            if name in sizes:
                output.truncate(sizes[name])
    return {path.name.encode(): path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_sparse_files_are_whole(tmp_path, sparse_files, options):
    command = ["tar", "--sparse", "--hole-detection=raw", *options, "-C", tmp_path / "files", "-cf", "-"]
    tar = subprocess.run([*command, *sorted(sparse_files)], check=True, capture_output=True).stdout
    assert len(tar) < 500_000
    with store_of(source_of(image_of(gzip_of(tar))), tmp_path / "cache") as store:
        assert store.layers[0].left_out is None
        assert contents_of(store) == sparse_files
        last = store.layers[0].entries[-1]
        with pytest.raises(SpanUnreadable, match="outside"):
            store.read(0, last.uncompressed_offset, 1 << 40)


def sparse_with_map(text: str) -> bytes:
    records = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.size": "100",
        "GNU.sparse.map": text,
    }
    return gzip_of(tar_of(file("s", b"x" * 30, pax=records)))


@pytest.mark.parametrize("text", ["0,10,5,10", "90,20", "-5,10", "0,-1", "9,999999999999999999999", "a,b"])
def test_an_impossible_map_of_a_sparse_file_is_refused_or_gives_no_wrong_place(tmp_path, text):
    with pytest.raises(TarError), store_of(source_of(image_of(sparse_with_map(text))), tmp_path):
        pass


def test_a_type_that_no_runtime_unpacks_leaves_the_rest_out(tmp_path):
    layer = gzip_of(GLOBAL + tar_of(file("a"), special("odd", b"V"), file("b")))
    with store_of(source_of(image_of(layer)), tmp_path) as store:
        left_out = store.layers[0].left_out
        assert left_out is not None
        assert left_out.reason is Reason.UNSUPPORTED_ENTRY_TYPE
        assert "odd" in left_out.detail


def test_a_broken_header_after_a_global_one_is_an_error(tmp_path):
    tar = bytearray(GLOBAL + tar_of(file("a", b"1"), file("b", b"2")))
    tar[len(GLOBAL) + 1024 + 148] ^= 1
    with (
        pytest.raises(TarError, match="invalid"),
        store_of(source_of(image_of(gzip_of(bytes(tar)))), tmp_path),
    ):
        pass


def test_a_tar_that_is_cut_after_a_global_header_is_an_error(tmp_path):
    tar = GLOBAL + tar_of(file("a", b"1"), file("b", noise(5_000)))
    with (
        pytest.raises(TarError),
        store_of(source_of(image_of(gzip_of(tar[: len(GLOBAL) + 4_000]))), tmp_path),
    ):
        pass
