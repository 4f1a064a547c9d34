from __future__ import annotations

import pytest

from soci.errors import InvalidOption
from soci.settings import MAX_SPAN_SIZE_BYTES, MIN_SPAN_SIZE_BYTES, IndexSettings, MultiMember, Optimization


def test_the_defaults_are_those_of_the_owner_but_for_the_identifier():
    settings = IndexSettings()

    assert settings.span_size_bytes == 4_194_304
    assert settings.min_layer_size_bytes == 10_485_760
    assert settings.optimizations == frozenset()
    assert settings.prefetch_patterns == ()
    assert settings.multi_member is MultiMember.INDEX
    assert settings.build_tool_identifier == "SOCI Index Builder v1"


@pytest.mark.parametrize(
    "fields",
    [
        {"span_size_bytes": MIN_SPAN_SIZE_BYTES},
        {"span_size_bytes": MAX_SPAN_SIZE_BYTES},
        {"min_layer_size_bytes": 0},
        {"min_layer_size_bytes": 1 << 60},
        {"build_tool_identifier": "Überbau 1.0 <x@y>"},
        {"optimizations": frozenset({Optimization.XATTR})},
    ],
    ids=str,
)
def test_values_at_the_edge_are_accepted(fields):
    settings = IndexSettings(**fields)

    assert {name: getattr(settings, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"span_size_bytes": MIN_SPAN_SIZE_BYTES - 1}, "span size: 65535 bytes, want 65536 to 1073741824"),
        ({"span_size_bytes": MAX_SPAN_SIZE_BYTES + 1}, "span size: 1073741825 bytes"),
        ({"min_layer_size_bytes": -1}, "minimum layer size: -1 bytes, want 0 or more"),
        ({"build_tool_identifier": ""}, "build tool identifier: '', want printable text"),
        ({"build_tool_identifier": " "}, "build tool identifier: ' ', want printable text"),
        ({"build_tool_identifier": "a\nb"}, r"build tool identifier: 'a\\nb'"),
        ({"prefetch_patterns": ("/a", "")}, "prefetch: an empty path"),
    ],
)
def test_a_value_out_of_range_is_named(fields, message):
    with pytest.raises(InvalidOption, match=message):
        IndexSettings(**fields)


def test_every_bad_field_is_named_at_once():
    with pytest.raises(InvalidOption) as raised:
        IndexSettings(span_size_bytes=0, min_layer_size_bytes=-1, prefetch_patterns=("",))

    assert len(str(raised.value).split("; ")) == 3
