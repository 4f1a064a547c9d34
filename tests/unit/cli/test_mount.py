from __future__ import annotations

import os
import sys

import pytest

from soci.mount.fuse_library import load_fuse
from tests.builders import file, gzip_of, image_of, layout_of, tar_of


@pytest.fixture
def image(tmp_path):
    return f"oci:{layout_of(tmp_path / 'image', image_of(gzip_of(tar_of(file('a')))))}:latest"


@pytest.fixture
def directory(tmp_path):
    path = tmp_path / "root"
    path.mkdir()
    return path


def test_a_reference_that_does_not_parse_is_refused_first(soci_index, directory):
    assert "oci:" in soci_index("mount", "oci:", directory, status=2).stderr


def test_an_image_that_is_not_there_is_named(soci_index, directory, tmp_path):
    error = soci_index("mount", f"oci:{tmp_path}/none", directory, status=1).stderr

    assert error == f"soci-index: {tmp_path}/none: No such file or directory\n"


def test_a_time_to_record_needs_a_file(soci_index, image, directory):
    error = soci_index("mount", image, directory, "--record-for", "3", status=2).stderr

    assert error == "soci-index: --record-for goes with --record FILE\n"


@pytest.mark.parametrize("option", ["--suid", "--dev"])
def test_devices_and_set_user_id_bits_need_root(option, soci_index, image, directory, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    error = soci_index("mount", image, directory, option, status=2).stderr
    assert error == "soci-index: --suid and --dev need root\n"


def test_a_small_cache_is_refused(soci_index, image, directory):
    error = soci_index("mount", image, directory, "--cache-size", "1MiB", status=2).stderr

    assert error == "soci-index: cache size: expected at least 64 MiB, got 1048576 bytes\n"


def test_without_mfusepy_it_says_what_to_install(soci_index, image, directory, monkeypatch):
    monkeypatch.setitem(sys.modules, "mfusepy", None)

    error = soci_index("mount", image, directory, status=1).stderr
    assert error == (
        "soci-index: mount needs the Python package mfusepy: pip install mfusepy, or install soci with its extra"
        " `mount`\n"
    )


def test_another_version_of_libfuse_is_refused(soci_index, image, directory, monkeypatch):
    monkeypatch.setattr(load_fuse(), "fuse_version_major", 2)

    error = soci_index("mount", image, directory, status=1).stderr
    assert error == (
        "soci-index: mount needs libfuse 3, found version 2: install the package fuse3 of your system\n"
    )
