"""A real program with hundreds of files in two mounts with one cache: each byte of a span is fetched once."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from local.registry import OBJECTS, Behaviour, Registry
from local.registry.store import OCI_INDEX, OCI_MANIFEST
from local.sample_program import GREETING, program_command, program_environment, program_files
from tests.builders import file, gzip_of, image_of, noise, tar_of, with_soci_index
from tests.mounts import mounted

pytestmark = pytest.mark.skipif(not os.access("/dev/fuse", os.W_OK), reason="there is no /dev/fuse")

TAG = "1.0"
SPAN_BYTES = 1 << 20


def layers() -> list[bytes]:
    """The program with a file beside it that nothing reads, and a layer that nothing reads."""
    files = [
        file(one.name, one.path.read_bytes(), mode=one.path.stat().st_mode & 0o777) for one in program_files()
    ]
    assert len(files) > 200
    return [
        gzip_of(tar_of(*files, file("unused", noise(6 << 20))), level=1),
        gzip_of(tar_of(file("also", noise(9_000)))),
    ]


@pytest.fixture
def registry() -> Iterator[Registry]:
    image = with_soci_index(image_of(*layers()), span_size_bytes=SPAN_BYTES)
    with Registry(Behaviour(rates={})) as running:
        app = running.repository("app")
        for digest, blob in image.blobs.items():
            if blob.startswith(b'{"schemaVersion"'):
                is_root = digest == image.root.digest
                app.put_manifest(blob, OCI_INDEX if is_root else OCI_MANIFEST, tag=TAG if is_root else None)
            else:
                app.put_blob(blob)
        yield running


def start(root: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        program_command(root),
        env=program_environment(root),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ranges_sent(registry: Registry) -> list[tuple[int, int]]:
    """The ranges of blobs that were asked for in part, in order of their place."""
    asked = [one.range for one in registry.requests if one.origin == OBJECTS and one.range]
    return sorted(
        (int(match[1]), int(match[2]) + 1)
        for one in asked
        if (match := re.fullmatch(r"bytes=(\d+)-(\d+)", one))
    )


def test_a_program_of_hundreds_of_files_fetches_each_byte_once(registry, tmp_path, printed):
    cache = tmp_path / "cache"
    reference = f"{registry.host}/app:{TAG}"
    with (
        mounted(reference, tmp_path / "one", "--cache", cache) as one,
        mounted(reference, tmp_path / "two", "--cache", cache) as two,
    ):
        documents = len(registry.requests)
        programs = [start(mount.directory) for mount in (one, two)]
        results = [(*program.communicate(timeout=120), program.returncode) for program in programs]
        assert [result[0].split()[0] for result in results] == [GREETING, GREETING], results
        sent = ranges_sent(registry)
        requests = len(registry.requests) - documents
    assert all(after[0] >= before[1] - 1 for before, after in pairwise(sent)), (
        "neighbours share a byte at most"
    )
    layer_bytes = max(len(blob) for blob in registry.repository("app").blobs.values())
    sent_bytes = sum(end - start for start, end in sent)
    assert sent_bytes < layer_bytes - (5 << 20), "what nothing reads was not fetched"

    registry.forget_requests()
    with mounted(reference, tmp_path / "three", "--cache", cache) as three:
        program = start(three.directory)
        assert program.communicate(timeout=120)[0].startswith(GREETING)
    assert ranges_sent(registry) == []
    told = f"a program of {len(program_files())} files in two mounts with one cache, side by side: {sent_bytes:,} bytes"
    told += (
        f" of a layer of {layer_bytes:,} in {len(sent)} ranges, {requests} requests; a third mount later: 0"
    )
    printed += ["", told]
