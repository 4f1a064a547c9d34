from __future__ import annotations

import io
import os
import subprocess
from pathlib import Path

import pytest
import zstandard

from soci.oci.digest import digest_of
from soci.ztoc.decode import decode_ztoc
from tests.builders import file, gzip_of, hardlink, index_layer, special, tar_of
from tests.unit.cli.samples import LAYER

MINE = ["--span-size", "64KiB", "--build-tool", "AWS SOCI CLI v0.2"]


def test_the_ztoc_is_described(soci_index, layer_file):
    lines = soci_index("ztoc", layer_file, *MINE).stdout.splitlines()

    facts = {line.split()[0]: line for line in lines}
    assert facts["zTOC"].split()[1] == str(index_layer(LAYER).digest)
    assert "for 2 files in 1 span" in facts["size"]
    assert facts["layer"].split()[1] == str(digest_of(LAYER))
    assert "KiB unpacked" in facts["read"]
    assert "nowhere; -o FILE writes it" in facts["written"]


def test_the_document_has_what_scripts_need(soci_index, layer_file, tmp_path):
    output = tmp_path / "out.ztoc"
    indexed = index_layer(LAYER)

    document = soci_index("ztoc", layer_file, *MINE, "-o", output, "--json").document

    assert document.pop("seconds") > 0
    assert document == {
        "digest": str(indexed.digest),
        "size_bytes": len(indexed.ztoc),
        "spans": indexed.spans,
        "files": 2,
        "layer_digest": str(digest_of(LAYER)),
        "compressed_bytes": len(LAYER),
        "uncompressed_bytes": indexed.uncompressed_bytes,
        "output": str(output),
    }


def test_the_ztoc_is_written_to_the_output(soci_index, layer_file, tmp_path):
    output = tmp_path / "out.ztoc"

    result = soci_index("ztoc", layer_file, *MINE, "--output", output)

    assert output.read_bytes() == index_layer(LAYER).ztoc
    assert str(output) in result.stdout


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_the_compression_is_found_in_the_content_and_can_be_given(soci_index, tmp_path, compression):
    layer = tmp_path / "layer"
    content = tar_of(file("a", b"x" * 5_000))
    layer.write_bytes(gzip_of(content) if compression == "gzip" else content)

    told = soci_index("ztoc", layer, "--json").document
    given = soci_index("ztoc", layer, "--json", "--compression", compression).document

    assert told["digest"] == given["digest"]


def test_a_gzip_layer_that_is_said_to_be_a_tar_is_damaged(soci_index, layer_file):
    assert "tar" in soci_index("ztoc", layer_file, "--compression", "none", status=1).stderr


def test_a_layer_can_come_from_standard_input(process, tmp_path):
    result = process("ztoc", "-", *MINE, "--json", "-o", tmp_path / "out", input=LAYER)

    assert result.document["digest"] == str(index_layer(LAYER).digest)
    assert (tmp_path / "out").read_bytes() == index_layer(LAYER).ztoc


def test_standard_input_is_read_to_its_end_whatever_its_chunks(soci_index, monkeypatch):
    class Trickle(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or 1_000, 1_000))

    class Input:
        buffer = Trickle(LAYER)

    monkeypatch.setattr("sys.stdin", Input)

    assert soci_index("ztoc", "-", *MINE, "--json").document["digest"] == str(index_layer(LAYER).digest)


def test_a_layer_that_is_left_out_has_its_reason_and_status_1(soci_index, tmp_path):
    layer, output = tmp_path / "layer", tmp_path / "out"
    layer.write_bytes(gzip_of(tar_of(file("a"), special("c", b"7"))))

    result = soci_index("ztoc", layer, "-o", output, "--json", status=1)

    assert result.document["digest"] is None
    assert result.document["reason"] == "unsupported-entry-type"
    assert result.document["sentence"] in result.stderr
    assert result.document["detail"] in result.stderr
    assert not output.exists()


def test_several_members_are_left_out_when_asked(soci_index, tmp_path):
    layer = tmp_path / "layer"
    layer.write_bytes(gzip_of(tar_of(file("a", b"x" * 5_000)), members=2))

    assert soci_index("ztoc", layer, "--json").document["files"] == 1
    left_out = soci_index("ztoc", layer, "--json", "--multi-member", "leave-out", status=1).document
    assert left_out["reason"] == "multi-member-gzip"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (LAYER[:-10], "cut short"),
        (LAYER + b"x", "gzip"),
        (b"neither gzip nor tar" * 100, "tar header at byte 0 is invalid"),
        (gzip_of(tar_of(hardlink("l", "a"))[:700]), "tar"),
    ],
    ids=["cut short", "garbage behind", "no tar", "tar cut short"],
)
def test_a_damaged_layer_is_an_error_and_leaves_the_old_file(soci_index, tmp_path, content, message):
    layer, output = tmp_path / "layer", tmp_path / "out"
    layer.write_bytes(content)
    output.write_bytes(b"old")

    result = soci_index("ztoc", layer, "-o", output, "--json", status=1)

    assert message in result.document["error"]["message"]
    assert output.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["layer", "out"]


@pytest.mark.parametrize(
    ("layer", "message"), [("nothing", "No such file or directory"), (".", "Is a directory")]
)
def test_a_layer_that_cannot_be_read_is_an_error(soci_index, tmp_path, layer, message):
    assert message in soci_index("ztoc", tmp_path / layer, status=1).stderr


def test_an_output_in_a_missing_directory_is_refused_before_reading(soci_index, tmp_path):
    result = soci_index("ztoc", tmp_path / "no layer", "-o", tmp_path / "none" / "out", status=1)

    assert f"the directory {tmp_path / 'none'} does not exist" in result.stderr


def test_an_output_that_is_a_directory_is_refused(soci_index, layer_file, tmp_path):
    assert "Is a directory" in soci_index("ztoc", layer_file, "-o", tmp_path, status=1).stderr


def test_a_link_stays_a_link_to_what_is_written(soci_index, layer_file, tmp_path):
    link, target = tmp_path / "link", tmp_path / "target"
    link.symlink_to("target")

    soci_index("ztoc", layer_file, "-o", link)

    assert link.is_symlink()
    assert decode_ztoc(target.read_bytes()).files


def test_a_device_is_written_to_and_stays_a_device(layer_file, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with subprocess.Popen(
        ["soci-index", "ztoc", layer_file, *MINE, "-o", fifo], stdout=subprocess.DEVNULL
    ) as process:
        content = fifo.read_bytes()

    assert process.returncode == 0
    assert content == index_layer(LAYER).ztoc
    assert fifo.is_fifo()


def test_an_empty_file_is_not_a_layer(soci_index, tmp_path):
    empty = Path(tmp_path / "empty")
    empty.touch()

    assert "is empty, so it is not a layer" in soci_index("ztoc", empty, status=1).stderr


def test_a_zstd_layer_is_left_out_by_its_name(soci_index, tmp_path):
    layer = Path(tmp_path / "layer.tar.zst")
    layer.write_bytes(zstandard.compress(bytes(1024)))

    assert soci_index("ztoc", layer, "--json", status=1).document["reason"] == "zstd"


def test_an_output_that_cannot_be_written_is_named_as_given(soci_index, layer_file, tmp_path):
    output = tmp_path / ("n" * 300)

    result = soci_index("ztoc", layer_file, "-o", output, status=1)

    assert result.stderr == f"soci-index: {output}: File name too long\n"
    assert [path.name for path in tmp_path.iterdir()] == [layer_file.name]
