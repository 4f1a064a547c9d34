"""A mount meets the faults of a registry, of its cache directory and of its neighbours. Its readers go on, or get EIO.

No reader ever gets wrong bytes. Once the fault is gone, everything can be read. A table of the reads is printed at the
end.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import zstandard

from local.registry import (
    OBJECTS,
    Answer,
    Behaviour,
    Delay,
    Exchange,
    Fault,
    Harm,
    Meanwhile,
    Registry,
    TimePasses,
)
from local.registry.store import OCI_INDEX, OCI_MANIFEST
from soci.errors import SociError, SpanUnreadable
from soci.image.indexed import open_image
from soci.mount import cache_directory
from soci.mount.cache_directory import open_span_cache
from soci.mount.span_store import SpanStore, open_span_store
from soci.oci.digest import digest_of
from soci.oci.platform import Platform
from soci.oci.reference import RegistryRef
from soci.places.registry.retry import Clock, RetryPolicy
from soci.places.registry.transport import Timeouts
from tests.builders import file, gzip_of, image_of, noise, tar_of, text, with_soci_index
from tests.e2e.fault_table import Head, fault_table
from tests.mounts import Mounted, mounted
from tests.recipes import Watcher
from tests.registries import open_repository

KIB = 1 << 10
PIECE_BYTES = 48 * KIB
READERS = 4
RETRIES = RetryPolicy(attempts=4, clock=Clock(sleep=lambda _: None, random=lambda: 0.0))
TIMEOUTS = Timeouts(connect_seconds=2, read_seconds=0.25)
TAG = "1.0"

FILES = {
    "usr/lib/a.so": noise(700 * KIB, "a"),
    "usr/share/words": text(900 * KIB, "words"),
    "etc/passwd": b"root:x:0:0::/root:/bin/sh\n",
    "srv/data": noise(300 * KIB, "data"),
}
LAYERS = [
    gzip_of(tar_of(*(file(name, FILES[name]) for name in names)), memory_level=4)
    for names in (["usr/lib/a.so"], ["usr/share/words", "etc/passwd"])
]
WHOLE = zstandard.compress(tar_of(file("srv/data", FILES["srv/data"])))
IMAGE = with_soci_index(image_of(*LAYERS, WHOLE), skip=[2])


_VARIABLE = re.compile(r"GET|\S*://\S*|\S*sha256:\w+|\S*:\d+/app|span \d+|\d+ (?=bytes)")


@dataclass
class Row:
    """What the readers of one fault saw: while it lasted, and after it."""

    name: str
    right: int = 0
    errors: list[str] = field(default_factory=list)
    wrong: int = 0
    healed: int = 0
    note: str = ""

    @property
    def counts(self) -> tuple[int, ...]:
        return (
            self.right + len(self.errors) + self.wrong,
            self.right,
            len(self.errors),
            self.wrong,
            self.healed,
        )

    @property
    def words(self) -> str:
        reasons = (_VARIABLE.sub("", one.partition("cannot be read: ")[2]) for one in self.errors)
        return self.note or ", ".join(
            sorted({" ".join(reason.split())[:70].strip(" ,:") for reason in reasons})
        )


HEAD = Head(
    name="fault of a mount",
    counts=("reads", "right", "EIO", "wrong", "right after"),
    words="what the readers saw",
    name_width=42,
    count_width=12,
)


@pytest.fixture(scope="module")
def table(printed) -> Iterator[list[Row]]:
    with fault_table(HEAD, printed) as rows:
        yield rows


@pytest.fixture
def row(request, table) -> Row:
    name = (
        request.node.callspec.params.get("fault", request.node.name)
        if hasattr(request.node, "callspec")
        else ""
    )
    row = Row(str(name) or request.node.name.removeprefix("test_").replace("_", " "))
    table.append(row)
    return row


@contextmanager
def registry_with_image(behaviour: Behaviour | None = None) -> Iterator[Registry]:
    with Registry(behaviour or Behaviour(rates={})) as registry:
        app = registry.repository("app")
        for digest, blob in IMAGE.blobs.items():
            if blob.startswith(b'{"schemaVersion"'):
                is_root = digest == IMAGE.root.digest
                app.put_manifest(blob, OCI_INDEX if is_root else OCI_MANIFEST, tag=TAG if is_root else None)
            else:
                app.put_blob(blob)
        yield registry


@pytest.fixture
def registry() -> Iterator[Registry]:
    with registry_with_image() as running:
        yield running


@contextmanager
def store_on(registry: Registry, cache: Path, *, size_bytes: int = 1 << 30) -> Iterator[SpanStore]:
    reference = RegistryRef(host=registry.host, repository="app", tag=TAG)
    source = open_repository(reference, retries=RETRIES, timeouts=TIMEOUTS)
    image = open_image(source, Platform.parse("linux/amd64"))
    with (
        open_span_cache(cache, size_bytes=size_bytes) as opened,
        open_span_store(source, image, opened, progress=Watcher()) as store,
    ):
        yield store


def read_all(store: SpanStore, row: Row | None = None) -> int:
    """Read every file from several threads, each from another place on; returns how many reads were right."""
    outcomes = Row("")
    pieces = [
        (number, entry, at)
        for number, layer in enumerate(store.layers)
        for entry in layer.entries
        for at in range(0, entry.uncompressed_size, PIECE_BYTES)
    ]
    lock = threading.Lock()

    def read_from(first: int) -> None:
        for number, entry, at in pieces[first:] + pieces[:first]:
            want = FILES[entry.name.decode()][at : at + PIECE_BYTES]
            try:
                got: bytes | None = store.open_file(number, entry).read(at, PIECE_BYTES)
            except SpanUnreadable as error:
                with lock:
                    outcomes.errors.append(str(error))
                continue
            with lock:
                outcomes.right += got == want
                outcomes.wrong += got != want

    threads = [threading.Thread(target=read_from, args=[n * len(pieces) // READERS]) for n in range(READERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a read never ended"
    if row is not None:
        row.right += outcomes.right
        row.errors += outcomes.errors
        row.wrong += outcomes.wrong
    assert outcomes.wrong == 0
    return outcomes.right


ALL_READS = READERS * sum(-(-len(content) // PIECE_BYTES) for content in FILES.values())


def check_healed(store: SpanStore, row: Row) -> None:
    """Without the fault, every read is right: nothing of it was remembered."""
    row.healed = read_all(store)
    assert row.healed == ALL_READS


def of_a_layer(exchange: Exchange) -> bool:
    return any(digest_of(layer).hex in exchange.path for layer in LAYERS)


ONCE: dict[str, Fault] = {
    "connection reset": Harm.RESET_BEFORE,
    "reset in the body": Harm.RESET_IN_BODY,
    "body cut": Harm.CUT_BODY,
    "wrong byte": Harm.WRONG_BYTE,
    "registry hangs": Harm.HANG,
    "hangs in the body": Harm.HANG_IN_BODY,
    "429": Answer(429, retry_after_seconds=1),
    "500": Answer(500),
    "503": Answer(503),
    "logins and URLs expire": TimePasses(10_000),
}
FROM_THEN_ON: dict[str, Fault] = {
    "registry is cut off": Harm.RESET_BEFORE,
    "every body is cut": Harm.RESET_IN_BODY,
    "every byte is wrong": Harm.WRONG_BYTE,
    "always 429": Answer(429),
    "always 503": Answer(503),
    "always 401": Answer(401),
    "always 404": Answer(404),
    "slow": Delay(0.05),
}
OVERCOME = {*ONCE, "slow"}


ONLY_IN_TEST_ALL = {
    "body cut",
    "500",
    "hangs in the body",
    "every body is cut",
    "always 503",
    "each file empty",
}
"""Each has a sibling that the gate tries."""


def each_fault(faults: Iterable[str]) -> pytest.MarkDecorator:
    marks = {True: [pytest.mark.exhaustive], False: []}
    return pytest.mark.parametrize(
        "fault", [pytest.param(one, marks=marks[one in ONLY_IN_TEST_ALL]) for one in faults]
    )


@each_fault([*ONCE, *FROM_THEN_ON])
def test_registry(registry, tmp_path, fault, row):
    with store_on(registry, tmp_path) as store:
        if fault in ONCE:
            times = (
                1 if fault == "wrong byte" else 3
            )  # wrong bytes are fetched once more, the rest with the usual retries
            registry.fail(ONCE[fault], where=of_a_layer, times=times)
        else:
            registry.fail(FROM_THEN_ON[fault], where=of_a_layer, times=None)
        read_all(store, row)
        registry.heal()
        check_healed(store, row)
        if fault in OVERCOME:
            assert row.errors == []
        else:
            assert row.errors


def test_ranges_are_ignored(tmp_path, row):
    with (
        registry_with_image(Behaviour(ranges=False, rates={})) as registry,
        store_on(registry, tmp_path) as store,
    ):
        check_healed(store, row)
        row.note = "nothing: whole layers come, and the rest is thrown away"


# --- the cache directory


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)


def swap(path: Path) -> None:
    """Another span of the same size, as far as there is one, else of another."""
    others = [other for other in path.parent.glob("[!l]*-*") if other != path]
    path.write_bytes(max(others, key=lambda other: other.stat().st_size == path.stat().st_size).read_bytes())


def to_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def to_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a bit of each file flipped": flip,
    "each file cut short": lambda path: os.truncate(path, path.stat().st_size // 2),
    "each file without its last byte": lambda path: os.truncate(path, path.stat().st_size - 1),
    "each file empty": lambda path: path.write_bytes(b""),
    "each file full of zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "each file longer": lambda path: path.write_bytes(path.read_bytes() + b"x" * 100),
    "each file that of another span": swap,
    "each file a pipe": to_pipe,
    "each file a directory": to_folder,
    "each file a link": to_link,
    "each file removed": lambda path: path.unlink(),
}


@each_fault(DAMAGES)
def test_cache(registry, tmp_path, fault, row):
    """Under a mount that has used the files, and again before a mount that has not."""
    for _ in ("under the mount", "before the mount"):
        with store_on(registry, tmp_path) as store:
            read_all(store, row)
            assert row.errors == []
            for path in list(tmp_path.glob("[!l]*-*")):
                DAMAGES[fault](path)
            check_healed(store, row)
        for path in list(tmp_path.glob("[!l]*-*")):
            if path.is_file() and not path.is_symlink():
                DAMAGES[fault](path)


def test_the_cache_directory_is_removed(registry, tmp_path, row):
    with store_on(registry, tmp_path / "cache") as store:
        store.read(0, 0, 1000)
        shutil.rmtree(tmp_path / "cache")
        read_all(store, row)
        assert row.errors == []
        assert store.counts.spans_in_memory
        check_healed(store, row)
        row.note = "nothing: memory keeps the latest spans"


def test_the_cache_is_full(registry, tmp_path, monkeypatch, row):
    monkeypatch.setattr(cache_directory, "MIN_CACHE_BYTES", 0)
    with store_on(registry, tmp_path, size_bytes=900 * KIB) as store:
        read_all(store, row)
        assert row.errors == []
        check_healed(store, row)
        used = sum(path.stat().st_size for path in tmp_path.iterdir())
        assert used <= 900 * KIB * 17 / 16
        row.note = "nothing: the oldest spans go and are fetched again"


@contextmanager
def tmpfs(path: Path, size_bytes: int) -> Iterator[Path]:
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=700", "tmpfs", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)


needs_fuse = pytest.mark.skipif(not os.access("/dev/fuse", os.W_OK), reason="there is no /dev/fuse")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system to fill")


@needs_root
def test_the_disk_is_full(registry, tmp_path, row):
    with tmpfs(tmp_path / "small", 700 * KIB) as disk, store_on(registry, disk) as store:
        read_all(store, row)
        assert row.errors == []
        assert store.counts.spans_in_memory
        check_healed(store, row)
        row.note = "nothing: memory keeps the latest spans"


@needs_root
def test_the_disk_is_full_before_the_mount(registry, tmp_path, row):
    """A layer without a zTOC has no room: the mount is refused with one line, and the next one finds everything."""
    with tmpfs(tmp_path / "small", 700 * KIB) as disk:
        (disk / "other").write_bytes(bytes(600 * KIB))
        with (
            pytest.raises(SociError, match=r"cache .*/small: No space left on device"),
            store_on(registry, disk),
        ):
            pass
        (disk / "other").unlink()
        with store_on(registry, disk) as store:
            check_healed(store, row)
        row.note = "the mount is refused: No space left on device"


@needs_root
def test_the_cache_directory_becomes_read_only(registry, tmp_path, row):
    with tmpfs(tmp_path / "disk", 50 << 20) as disk, store_on(registry, disk) as store:
        store.read(0, 0, 1000)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        read_all(store, row)
        assert row.errors == []
        check_healed(store, row)
        row.note = "nothing: memory keeps the latest spans"


# --- other mounts of the same cache

READ_ALL = """
import hashlib, sys
from pathlib import Path
from soci.image.indexed import open_image
from soci.mount.cache_directory import open_span_cache
from soci.mount.span_store import open_span_store
from soci.mount.whole_layer import NoProgress
from soci.oci.platform import Platform
from soci.oci.reference import parse_reference
from soci.places.open import open_source

source = open_source(parse_reference(sys.argv[1]))
image = open_image(source, Platform.parse("linux/amd64"))
with open_span_cache(Path(sys.argv[2])) as cache:
    with open_span_store(source, image, cache, progress=NoProgress()) as store:
        print("open", flush=True)
        sys.stdin.readline()
        for number, layer in enumerate(store.layers):
            for entry in layer.entries:
                content = store.open_file(number, entry).read(0, entry.uncompressed_size)
                print(entry.name.decode(), hashlib.sha256(content).hexdigest(), flush=True)
"""


@contextmanager
def reading_process(registry: Registry, cache: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that opens the image, waits for a line, and reads all files."""
    command = [sys.executable, "-c", READ_ALL, f"{registry.host}/app:{TAG}", str(cache)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until_open(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"


def files_read(process: subprocess.Popen[str]) -> dict[str, str]:
    out, _ = process.communicate("\n", timeout=60)
    return dict(line.split() for line in out.splitlines())


SUMS = {name: digest_of(content).hex for name, content in FILES.items()}


def layer_bytes(registry: Registry) -> int:
    """The bytes of layers that the store of blobs has sent."""
    return sum(one.sent_bytes for one in registry.requests if one.origin == OBJECTS and of_a_layer(one))


def test_two_processes_with_one_cache(registry, tmp_path, row):
    with reading_process(registry, tmp_path) as one, reading_process(registry, tmp_path) as other:
        for process in (one, other):
            wait_until_open(process)
        registry.forget_requests()
        outcomes: list[dict[str, str]] = []
        threads = [threading.Thread(target=lambda p=p: outcomes.append(files_read(p))) for p in (one, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    row.right = sum(len(outcome) for outcome in outcomes)
    assert outcomes == [SUMS, SUMS]
    shared = sum(len(layer) for layer in LAYERS)
    sent = layer_bytes(registry)
    assert sent <= shared * 1.002, "each byte of a span once; neighbours share a byte at most"
    row.note = f"{sent} bytes sent of layers that have {shared}"


def test_kill_9_of_a_process_that_fetches(registry, tmp_path, row):
    """The registry hangs under the first process, which holds the span's lock when it is killed."""
    with reading_process(registry, tmp_path) as killed, store_on(registry, tmp_path) as store:
        wait_until_open(killed)
        hangs = threading.Event()
        registry.fail(Meanwhile(hangs.set), where=of_a_layer)
        registry.fail(Harm.HANG, where=of_a_layer)
        assert killed.stdin is not None
        killed.stdin.write("\n")
        killed.stdin.flush()
        assert hangs.wait(20)
        killed.send_signal(signal.SIGKILL)
        read_all(store, row)
        assert row.errors == []
        check_healed(store, row)
        row.note = "nothing: the lock ends with its process"


def test_kill_9_of_a_process_that_writes(registry, tmp_path, row):
    """The body of the layer without a zTOC breaks off in the midst, and the process is killed over its half file."""
    registry.fail(
        Harm.HANG_IN_BODY,
        where=lambda exchange: digest_of(WHOLE).hex in exchange.path and exchange.origin == OBJECTS,
    )
    with reading_process(registry, tmp_path) as killed:
        wait_for(lambda: any(tmp_path.glob(".*.partial")))
        killed.send_signal(signal.SIGKILL)
        killed.wait(20)
    assert len(list(tmp_path.glob(".*.partial"))) == 1
    with store_on(registry, tmp_path) as store:
        assert list(tmp_path.glob(".*.partial")) == []
        read_all(store, row)
        assert row.errors == []
        check_healed(store, row)


def wait_for(is_so: Callable[[], bool]) -> None:
    for _ in range(2_000):
        if is_so():
            return
        time.sleep(0.01)
    raise AssertionError("it never came")


# --- the real mount: what a program sees that reads the files


def program_reads(root: Path, row: Row) -> int:
    """Let `sha256sum` read every file; returns how many were right. What the kernel keeps of them is dropped first."""
    for name in FILES:
        with suppress(OSError), (root / name).open("rb") as file_:
            os.posix_fadvise(file_.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    done = subprocess.run(
        ["sha256sum", *FILES], cwd=root, capture_output=True, text=True, timeout=120, check=False
    )
    sums = {name: digest for digest, name in (line.split() for line in done.stdout.splitlines())}
    right = sum(sums.get(name) == digest for name, digest in SUMS.items())
    row.wrong += len(sums) - right
    row.errors += [
        f"cannot be read: sha256sum: {line.rpartition(': ')[2]}" for line in done.stderr.splitlines()
    ]
    assert len(sums) == right, "wrong bytes"
    return right


def empty_cache(cache: Path) -> None:
    for path in cache.glob("[!l]*-*"):
        path.unlink()


def mount_of(registry: Registry, directory: Path, cache: Path) -> AbstractContextManager[Mounted]:
    options = ("--platform", "linux/amd64", "--cache", cache, "--cache-size", "1GiB")
    return mounted(f"{registry.host}/app:{TAG}", directory, *options)


MOUNTED_FAULTS: dict[str, tuple[Fault, int | None]] = {
    "connection reset": (Harm.RESET_BEFORE, 1),
    "503": (Answer(503), 1),
    "wrong byte": (Harm.WRONG_BYTE, 1),
    "every byte is wrong": (Harm.WRONG_BYTE, None),
    "always 404": (Answer(404), None),
    "always 401": (Answer(401), None),
}


@needs_fuse
def test_a_program_in_a_mount(registry, tmp_path, table):
    """Every fault in turn under one mount, whose cache is emptied before each."""
    cache = tmp_path / "cache"
    with mount_of(registry, tmp_path / "root", cache) as mount:
        for fault, (harm, times) in MOUNTED_FAULTS.items():
            row = Row(f"mounted: {fault}")
            table.append(row)
            empty_cache(cache)
            registry.fail(harm, where=of_a_layer, times=times)
            row.right = program_reads(mount.directory, row)
            registry.heal()
            empty_cache(cache)
            row.healed = program_reads(mount.directory, row)
            assert row.healed == len(FILES)
            assert bool(row.errors) == (times is None)
        for fault, damage in DAMAGES.items():
            row = Row(f"mounted: {fault}")
            table.append(row)
            row.right = program_reads(mount.directory, row)
            for path in list(cache.glob("[!l]*-*")):
                damage(path)
            row.healed = program_reads(mount.directory, row)
            assert row.right == row.healed == len(FILES)
    assert "cannot be read" in mount.errors
    assert all(line.startswith("soci-index: ") for line in mount.errors.splitlines())


@needs_fuse
def test_kill_9_of_the_mount(registry, tmp_path, row):
    """A program reads while the mount is killed. After `fusermount3 -u`, the next mount goes on with the cache."""
    root, cache = tmp_path / "root", tmp_path / "cache"
    with mount_of(registry, root, cache) as mount:
        registry.fail(Harm.HANG, where=of_a_layer, times=None)
        with subprocess.Popen(["sha256sum", *FILES], cwd=root, stderr=subprocess.PIPE, text=True) as program:
            time.sleep(0.5)
            mount.process.kill()
            mount.process.communicate(timeout=20)
            assert program.stderr is not None
            errors = program.stderr.read()
        row.errors += [
            f"cannot be read: sha256sum: {line.rpartition(': ')[2]}" for line in errors.splitlines()
        ]
        assert row.errors
        subprocess.run(["fusermount3", "-uz", root], check=True)
    registry.heal()
    with mount_of(registry, root, cache) as mount:
        row.healed = program_reads(mount.directory, row)
        assert row.healed == len(FILES)


@needs_fuse
def test_kill_9_of_one_of_two_mounts(registry, tmp_path, row):
    """Both have one cache, and the first is killed while it fetches what a program in the second waits for."""
    cache = tmp_path / "cache"
    with (
        mount_of(registry, tmp_path / "one", cache) as one,
        mount_of(registry, tmp_path / "two", cache) as two,
    ):
        hangs = threading.Event()
        registry.fail(Meanwhile(hangs.set), where=of_a_layer)
        registry.fail(Harm.HANG, where=of_a_layer)
        with subprocess.Popen(["cat", *FILES], cwd=one.directory, stdout=subprocess.DEVNULL) as program:
            assert hangs.wait(20)
            threading.Timer(0.5, one.process.kill).start()
            row.healed = row.right = program_reads(two.directory, row)
            program.wait(20)
        one.process.communicate(timeout=20)
        assert row.right == len(FILES)
        assert row.errors == []
        row.note = "nothing: the other mount goes on"
