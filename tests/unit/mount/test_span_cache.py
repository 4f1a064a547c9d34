from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from soci.errors import InvalidOption, StorageError
from soci.mount.cache_directory import MIN_CACHE_BYTES, open_span_cache
from soci.mount.span_cache import SpanCache
from soci.mount.span_key import SpanKey, group_of
from soci.oci.digest import digest_of
from tests.unit.mount.stores import MIB, cache_in

GROUP = group_of(digest_of(b"layer"), digest_of(b"ztoc"))
KEY = SpanKey(GROUP, 7)
CONTENT = os.urandom(3 * MIB + 5)


def put(cache: SpanCache, key: SpanKey = KEY, content: bytes = CONTENT) -> None:
    with cache.writing(key, size_bytes=len(content)) as writer:
        for at in range(0, len(content), MIB):
            writer.write(content[at : at + MIB])


def get(cache: SpanCache, key: SpanKey = KEY, content: bytes = CONTENT) -> bytes | None:
    return cache.read(key, 0, len(content), size_bytes=len(content))


def test_a_span_is_read_where_it_was_written(tmp_path):
    with cache_in(tmp_path) as cache:
        assert get(cache) is None
        put(cache)
        assert get(cache) == CONTENT
        assert cache.read(KEY, 5, 9, size_bytes=len(CONTENT)) == CONTENT[5:9]
    with cache_in(tmp_path) as cache:
        assert get(cache) == CONTENT


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    os.truncate(path, 1000)


def zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def of_another_span(path: Path) -> None:
    with open_span_cache(path.parent) as cache:
        put(cache, SpanKey(GROUP, 8), CONTENT[::-1])
    path.with_name(f"{GROUP}-8").replace(path)


def link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def removed(path: Path) -> None:
    path.unlink()


DAMAGES = (flip, cut, zeros, empty, of_another_span, link, pipe, folder, removed)


@pytest.mark.parametrize("while_open", [False, True], ids=["before the mount", "under the mount"])
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda one: one.__name__)
def test_a_file_that_is_not_the_span_is_not_used(tmp_path, damage, while_open):
    path = tmp_path / KEY.name
    with cache_in(tmp_path) as cache:
        put(cache)
        if while_open:
            assert get(cache) == CONTENT
            damage(path)
            assert get(cache) is None
    if not while_open:
        damage(path)
    with cache_in(tmp_path) as cache:
        assert get(cache) is None
        if damage is not folder:
            put(cache)
            assert get(cache) == CONTENT


def test_the_least_recently_used_go_first_and_the_bound_is_kept(tmp_path):
    with cache_in(tmp_path, size_bytes=MIN_CACHE_BYTES) as cache:
        keys = [SpanKey(GROUP, number) for number in range(30)]
        for number, key in enumerate(keys):
            put(cache, key)
            os.utime(tmp_path / key.name, ns=(number, 1))
        used = sum(path.stat().st_size for path in tmp_path.iterdir())
        there = [key.number for key in keys if get(cache, key)]

    assert used <= MIN_CACHE_BYTES * 17 / 16
    assert there == list(range(30 - len(there), 30))


def test_a_read_makes_a_span_young(tmp_path):
    with cache_in(tmp_path) as cache:
        put(cache)
        path = tmp_path / KEY.name
        os.utime(path, ns=(1, path.stat().st_mtime_ns))
    with cache_in(tmp_path) as cache:
        assert get(cache) == CONTENT
        assert time.time() - path.stat().st_atime < 60


def test_what_a_mount_holds_is_not_removed_by_another(tmp_path):
    with cache_in(tmp_path) as one, cache_in(tmp_path, size_bytes=MIN_CACHE_BYTES) as other:
        put(one)
        assert one.pin(KEY)
        for number in range(100, 130):
            put(other, SpanKey(GROUP, number))
        assert (tmp_path / KEY.name).exists()
        assert not (tmp_path / f"{GROUP}-100").exists()


def put_endlessly(cache: SpanCache) -> None:
    with cache.writing(KEY, size_bytes=None) as writer:
        while True:
            writer.write(CONTENT)


def put_interrupted(cache: SpanCache) -> None:
    with cache.writing(KEY, size_bytes=10) as writer:
        writer.write(b"12345")
        raise KeyboardInterrupt


def test_more_than_the_bound_does_not_fit(tmp_path):
    with cache_in(tmp_path, size_bytes=MIN_CACHE_BYTES) as cache:
        with pytest.raises(StorageError, match="do not fit"), cache.writing(KEY, size_bytes=1 << 40):
            pass
        with pytest.raises(StorageError, match="do not fit"):
            put_endlessly(cache)
        assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_an_interrupted_write_leaves_nothing(tmp_path):
    with cache_in(tmp_path) as cache:
        with pytest.raises(KeyboardInterrupt):
            put_interrupted(cache)
        assert [path.name for path in tmp_path.iterdir()] == ["lock"]


KILLED = """
import os, signal, sys
from pathlib import Path
from soci.mount.cache_directory import open_span_cache
from soci.mount.span_cache import SpanKey
with open_span_cache(Path(sys.argv[1]) if sys.argv[1:] else None) as cache:
    key = SpanKey("{group}", 7)
    assert cache.try_lock(key, 3) is not None
    with cache.writing(key, size_bytes=100_000_000) as writer:
        writer.write(bytes(10_000_000))
        print(cache.path, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_in_a_write(*arguments: str) -> Path:
    done = subprocess.run(
        [sys.executable, "-c", KILLED.format(group=GROUP), *arguments],
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == -9, done.stderr
    return Path(done.stdout.strip())


def test_a_killed_mount_leaves_no_lock_and_its_half_file_goes(tmp_path):
    kill_in_a_write(str(tmp_path))
    assert len(list(tmp_path.glob(".*.partial"))) == 1

    with cache_in(tmp_path) as cache:
        assert list(tmp_path.glob(".*.partial")) == []
        assert get(cache) is None
        lock = cache.try_lock(KEY, 1)
        assert lock is not None
        os.close(lock)


def test_the_file_that_a_mount_writes_is_not_taken_for_a_dead_one(tmp_path):
    with cache_in(tmp_path) as one, one.writing(KEY, size_bytes=10) as writer, cache_in(tmp_path):
        writer.write(b"0123456789")
    with cache_in(tmp_path) as cache:
        assert cache.read(KEY, 0, 10, size_bytes=10) == b"0123456789"


def test_a_span_is_locked_against_other_mounts_and_not_its_neighbours(tmp_path):
    with cache_in(tmp_path) as one, cache_in(tmp_path) as other:
        lock = one.try_lock(KEY, 2)
        assert lock is not None
        assert other.try_lock(KEY, 1) is None
        assert other.try_lock(SpanKey(GROUP, 8), 1) is None
        assert one.try_lock(SpanKey(GROUP, 6), 5) is None
        beside = other.try_lock(SpanKey(GROUP, 9), 1)
        assert beside is not None
        os.close(beside)
        os.close(lock)
        again = other.try_lock(KEY, 1)
        assert again is not None
        os.close(again)


# --- the directory


def test_a_directory_is_made_for_its_user_alone(tmp_path):
    with cache_in(tmp_path / "a" / "b") as cache:
        put(cache)
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "a" / "b" / KEY.name).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o722, 0o1777], ids=oct)
def test_a_directory_that_others_may_write_to_is_refused(tmp_path, mode):
    tmp_path.chmod(mode)
    with pytest.raises(InvalidOption, match="can be written to by others"), cache_in(tmp_path):
        pass


def test_a_directory_of_another_user_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(InvalidOption, match="belongs to user"), cache_in(tmp_path):
        pass


def test_a_file_in_the_place_of_the_directory_is_one_line(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(StorageError, match=r"file: (File exists|Not a directory)"),
        cache_in(tmp_path / "file"),
    ):
        pass


def test_too_small_a_cache_is_refused(tmp_path):
    with pytest.raises(InvalidOption, match="at least 64 MiB"), cache_in(tmp_path, size_bytes=1000):
        pass


def test_a_private_directory_goes_with_its_mount(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with cache_in(None) as cache, cache_in(None) as other:
        put(cache)
        assert cache.path.parent == tmp_path / "soci-index"
        assert get(other) is None
        assert cache.path.stat().st_mode & 0o777 == 0o700
    assert list((tmp_path / "soci-index").iterdir()) == []


def test_the_private_directory_of_a_killed_mount_goes_with_the_next(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    killed = kill_in_a_write()
    assert killed.exists()
    with cache_in(None) as living:
        assert not killed.exists()
        with cache_in(None):
            assert living.path.exists()


def test_without_a_home_a_private_directory_is_a_temporary_one(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with cache_in(None) as cache:
        assert cache.path.parent == tmp_path / f"soci-index-{os.geteuid()}"


def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch):
    def refuse(*_arguments: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    with cache_in(tmp_path) as cache, pytest.raises(OSError, match="No locks"):
        cache.try_lock(KEY, 1)
