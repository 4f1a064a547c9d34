from __future__ import annotations

import json

import pytest

from soci.errors import InvalidDocument
from soci.oci.digest import digest_of
from soci.oci.image_config import CONFIG_LIMIT_BYTES, ImageConfig
from soci.oci.platform import Platform


def test_platform_and_diff_ids_are_read():
    config = {
        "architecture": "arm",
        "os": "linux",
        "variant": "v7",
        "rootfs": {"type": "layers", "diff_ids": [str(digest_of(b"a")), str(digest_of(b"b"))]},
        "config": {"Cmd": ["/bin/sh"]},
    }

    parsed = ImageConfig.parse(json.dumps(config).encode())

    assert parsed.platform == Platform(os="linux", architecture="arm", variant="v7")
    assert parsed.diff_ids == (digest_of(b"a"), digest_of(b"b"))


def test_a_config_of_an_artifact_has_no_platform_and_no_layers():
    assert ImageConfig.parse(b"{}") == ImageConfig(platform=Platform(os="", architecture=""), diff_ids=())


def test_a_bad_diff_id_is_named_by_its_path():
    with pytest.raises(InvalidDocument, match=r"^image config: rootfs\.diff_ids\[0\]: digest 'x'"):
        ImageConfig.parse(b'{"rootfs":{"diff_ids":["x"]}}')


def test_a_config_over_the_limit_is_refused():
    with pytest.raises(InvalidDocument, match="the limit for such a document is 8388608"):
        ImageConfig.parse(b" " * (CONFIG_LIMIT_BYTES + 1))
