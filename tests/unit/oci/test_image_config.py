from __future__ import annotations

import json

import pytest

from soci.errors import InvalidDocument
from soci.oci.digest import digest_of
from soci.oci.image_config import CONFIG_LIMIT_BYTES, ImageConfig, replace_diff_ids
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


OLD, NEW = [digest_of(b"a"), digest_of(b"b")], [digest_of(b"a"), digest_of(b"other")]

CONFIGS = {
    "compact": '{"os":"linux","rootfs":{"type":"layers","diff_ids":["%s","%s"]},"z":1.50}',
    "pretty": '{\n  "rootfs" : {\n "diff_ids" : [ "%s" ,\n\t"%s" ],\r\n "type":"layers" },\n "x": {"rootfs": []}\n}\n',
    "escapes and other text": '{"\\u0061": "Stra\u00dfe \\ud83d", "rootfs": {"x": [], "diff_ids": ["%s", "%s"]}}',
    "a value of another kind under the same key": '{"rootfs": null, "rootfs": {"diff_ids": ["%s", "%s"]}}',
    "a digest that stands elsewhere too": '{"labels": "'
    + str(OLD[1])
    + '","rootfs":{"diff_ids":["%s","%s"]}}',
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_other_diff_ids_leave_all_other_bytes_as_they_are(config):
    before = config % tuple(OLD)
    assert replace_diff_ids(before.encode(), NEW).decode() == config % tuple(NEW)


def test_bytes_that_are_no_utf8_stay():
    config = b'{"author":"\xff\xfe","rootfs":{"diff_ids":["%s"]}}'
    before, after = (config % str(one).encode() for one in (OLD[0], NEW[1]))
    assert replace_diff_ids(before, [NEW[1]]) == after


def test_another_number_of_diff_ids_is_refused():
    with pytest.raises(InvalidDocument, match="0 diff_ids for 2 layers"):
        replace_diff_ids(b"{}", NEW)


def test_a_config_whose_diff_ids_go_reads_elsewhere_is_refused():
    misspelled = CONFIGS["compact"].replace("rootfs", "RootFS") % tuple(OLD)
    with pytest.raises(InvalidDocument, match="cannot be replaced"):
        replace_diff_ids(misspelled.encode(), NEW)
