from __future__ import annotations

import json
from typing import Any

import pytest

from soci.errors import InvalidOption
from soci.service.settings.configuration import Architecture, Configuration, TagPolicy
from soci.service.settings.schema import describe
from soci.settings import IndexSettings, IndexVersion, MultiMember, Optimization, WholeLayers, ZstdLayers
from tests.architecture.source import ROOT

OTHERS = {
    "rules": {
        "repositories": {"include": ["team/*", "Upper?"], "exclude": ["team/lambda-*"]},
        "tags": {"include": ["v*"], "exclude": ["*-debug"]},
        "untagged_images": "index",
        "min_image_size_bytes": 1,
        "max_image_size_bytes": 2,
        "architectures": ["arm64"],
    },
    "index": {
        "version": "both",
        "span_size_bytes": 1 << 20,
        "min_layer_size_bytes": 7,
        "optimizations": ["xattr"],
        "prefetch_files": ["/usr/bin/*"],
        "start_profiles": "image",
        "profile_lines": ["web-*"],
        "prefetch_budget_bytes": 5,
        "whole_layers": "auto",
        "multi_member_gzip": "index",
        "zstd_layers": "recompress",
        "gzip_level": 9,
        "build_tool_identifier": "ours",
    },
    "tagging": {"policy": "replace", "suffix": ".lazy", "when_nothing_to_index": False},
}


def test_the_defaults_are_those_that_cdk_json_writes_out():
    context = json.loads((ROOT / "cdk.json").read_text())["context"]

    assert context["settings"] == Configuration().to_document()


@pytest.mark.parametrize("document", [{}, OTHERS], ids=["defaults", "everything else"])
def test_settings_are_read_as_they_were_written(document):
    configuration = Configuration.from_document(document)

    compact = json.dumps(configuration.to_document(), separators=(",", ":"))

    assert Configuration.from_document(json.loads(compact)) == configuration
    assert document in ({}, configuration.to_document())


def test_the_document_of_changed_settings_changes_every_default():
    defaults = {row.name: row.default for row in describe(Configuration)}
    others = Configuration.from_document(OTHERS).to_document()
    value: Any

    for name, default in defaults.items():
        value = others
        for part in name.split("."):
            value = value[part]
        assert json.dumps(value) != default, name


def test_the_settings_of_an_index_are_those_of_the_recipes():
    assert Configuration.from_document(OTHERS).index.settings == IndexSettings(
        span_size_bytes=1 << 20,
        min_layer_size_bytes=7,
        build_tool_identifier="ours",
        optimizations=frozenset({Optimization.XATTR}),
        prefetch_patterns=("/usr/bin/*",),
        prefetch_budget_bytes=5,
        whole_layers=WholeLayers.AUTO,
        multi_member=MultiMember.INDEX,
        zstd_layers=ZstdLayers.RECOMPRESS,
        gzip_level=9,
    )


def test_by_default_layers_of_several_gzip_members_are_left_out_and_the_rest_is_the_recipes_default():
    assert Configuration().index.settings == IndexSettings(multi_member=MultiMember.LEAVE_OUT)


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"rules": {"tags": {"include": ["ok", "a b"]}}}, r"rules\.tags\.include\[1\]: got 'a b'"),
        (
            {"rules": {"repositories": {"include": []}}},
            r"rules\.repositories\.include: 0 items, want at least 1",
        ),
        (
            {"rules": {"repositories": {"exclude": ["[a-z]"]}}},
            r"rules\.repositories\.exclude\[0\]: got '\[a-z\]'",
        ),
        (
            {"rules": {"min_image_size_bytes": 9, "max_image_size_bytes": 8}},
            "rules.max_image_size_bytes: got 8",
        ),
        (
            {"rules": {"architectures": ["x86_64"]}},
            r"rules\.architectures\[0\]: got x86_64, want one of amd64",
        ),
        ({"index": {"span_size_bytes": 1}}, "index.span_size_bytes: got 1, want a whole number, 65536 to"),
        ({"index": {"build_tool_identifier": ""}}, "index.build_tool_identifier: got '', want printable"),
        ({"index": {"build_tool_identifier": "a\nb"}}, r"index.build_tool_identifier: got 'a\\nb'"),
        *(
            (
                {"index": {"build_tool_identifier": text}},
                "index.build_tool_identifier: got .*, want printable",
            )
            for text in ("a\u2028b", "a\u200bb", "a\ue000b", " ", "\ud800", "a" * 201)
        ),
        (
            {"index": {"prefetch_files": ["a", "a\ud800"]}},
            r"index.prefetch_files\[1\]: got 'a\\ud800', want paths or globs",
        ),
        ({"index": {"start_profiles": "on"}}, "index.start_profiles: got on, want one of off, image, line"),
        (
            {"index": {"profile_lines": ["a", "a/b"]}},
            r"index.profile_lines\[1\]: got 'a/b', want globs of tags",
        ),
        ({"index": {"prefetch_budget_bytes": -1}}, "index.prefetch_budget_bytes: got -1, want"),
        ({"index": {"gzip_level": 0}}, "index.gzip_level: got 0, want a whole number, 1 to 9"),
        ({"index": {"version": "v3"}}, "index.version: got v3, want one of v1, v2, both"),
        (
            {"index": {"version": "v1", "zstd_layers": "recompress"}},
            "index.zstd_layers: got recompress, want leave-out with version v1",
        ),
        ({"tagging": {"suffix": ""}}, "tagging.suffix: got '', want 1 to 64 letters"),
        ({"tagging": {"suffix": "+soci"}}, r"tagging.suffix: got '\+soci', want 1 to 64 letters"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_invalid_setting_is_named_by_its_path(document, problem):
    with pytest.raises(InvalidOption, match=f"^{problem}"):
        Configuration.from_document(document)


@pytest.mark.parametrize(
    ("policy", "version", "tag", "output"),
    [
        ("suffix", "v2", "1.4", "1.4-soci"),
        ("suffix", "both", "1.4", "1.4-soci"),
        ("suffix", "v1", "1.4", None),
        ("replace", "v2", "1.4", "1.4"),
        ("digest-only", "v2", "1.4", None),
        ("suffix", "v2", None, None),
        ("replace", "v2", None, None),
    ],
)
def test_the_policy_decides_on_the_tag_of_a_soci_enabled_image(policy, version, tag, output):
    configuration = Configuration.from_document(
        {"tagging": {"policy": policy}, "index": {"version": version}}
    )

    assert configuration.output_tag(tag) == output


def test_values_are_of_the_types_that_code_compares_them_by():
    configuration = Configuration.from_document(OTHERS)

    assert configuration.index.versions == {IndexVersion.V1, IndexVersion.V2}
    assert configuration.tagging.policy is TagPolicy.REPLACE
    assert configuration.rules.architectures == (Architecture.ARM64,)
    assert configuration.index.makes_v1
    assert configuration.index.makes_v2
