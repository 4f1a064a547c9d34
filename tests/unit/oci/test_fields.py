from __future__ import annotations

import pytest

from soci.errors import InvalidDocument
from soci.oci import gojson
from soci.oci.digest import digest_of
from soci.oci.fields import Fields, fold_key
from soci.reasons import Reason


def fields_of(text: str) -> Fields:
    return Fields(gojson.decode(text.encode(), "doc", limit_bytes=10_000), "doc")


def test_a_nested_bad_field_is_named_by_its_path():
    (manifest,) = fields_of('{"manifests":[{"platform":{"os":5}}]}').children("manifests") or ()
    platform = manifest.child("platform")

    with pytest.raises(
        InvalidDocument, match=r"^doc: manifests\[0\]\.platform\.os: expected string, got number$"
    ):
        platform.string("os")


@pytest.mark.parametrize(
    ("read", "text", "problem"),
    [
        pytest.param(lambda f: f.string("x"), '{"x":[]}', "x: expected string, got list", id="string"),
        pytest.param(lambda f: f.integer("x"), '{"x":1.0}', "x: expected integer, got number", id="float"),
        pytest.param(
            lambda f: f.integer("x"), '{"x":true}', "x: expected integer, got boolean", id="boolean"
        ),
        pytest.param(lambda f: f.integer("x"), f'{{"x":{2**63}}}', "does not fit in 64 bits", id="65 bits"),
        pytest.param(lambda f: f.number("x"), '{"x":"1"}', "x: expected number, got string", id="number"),
        pytest.param(lambda f: f.number("x"), '{"x":true}', "x: expected number, got boolean", id="a flag"),
        pytest.param(lambda f: f.boolean("x"), '{"x":1}', "x: expected boolean, got number", id="flag"),
        pytest.param(lambda f: f.boolean("x"), '{"x":[]}', "x: expected boolean, got list", id="no flag"),
        pytest.param(lambda f: f.integers("x"), '{"x":[1,"a"]}', r"x\[1\]: expected integer", id="integers"),
        pytest.param(lambda f: f.size("x"), "{}", "x: expected integer, got nothing", id="no size"),
        pytest.param(lambda f: f.size("x"), '{"x":-1}', "x: expected a size, got -1", id="negative size"),
        pytest.param(lambda f: f.digest("x"), "{}", "x: digest '': no ':'", id="no digest"),
        pytest.param(lambda f: f.digests("x"), '{"x":["a"]}', r"x\[0\]: digest 'a'", id="list of digests"),
        pytest.param(
            lambda f: f.strings("x"), '{"x":["a",1]}', r"x\[1\]: expected string", id="list of strings"
        ),
        pytest.param(lambda f: f.strings("x"), '{"x":"a"}', "x: expected list, got string", id="no list"),
        pytest.param(lambda f: f.string_map("x"), '{"x":{"k":1}}', r"x\['k'\]: expected string", id="map"),
        pytest.param(lambda f: f.child("x"), "{}", "x: expected object, got nothing", id="child"),
        pytest.param(lambda f: f.children("x"), '{"x":[null]}', r"x\[0\]: expected object", id="children"),
        pytest.param(lambda f: f.data("x"), '{"x":"a"}', "x: expected base64", id="base64"),
        pytest.param(lambda f: f.data("x"), '{"x":"aGk=aGk="}', "x: expected base64", id="base64 twice"),
    ],
)
def test_a_field_of_the_wrong_kind_is_refused(read, text, problem):
    with pytest.raises(InvalidDocument, match=f"^doc: .*{problem}"):
        read(fields_of(text))


def test_a_document_that_is_not_an_object_is_refused():
    with pytest.raises(InvalidDocument, match=r"^doc: expected object, got list$"):
        fields_of("[]")


def test_absent_and_null_fields_have_gos_zero_values():
    for text in ("{}", '{"x":null}'):
        fields = fields_of(text)

        assert fields.string("x") == ""
        assert fields.integer("x") is None
        assert fields.strings("x") == ()
        assert fields.string_map("x") == {}
        assert fields.data("x") == b""
        assert fields.children("x") is None
        assert fields.optional_child("x") is None
        assert not fields.has("x")


def test_present_fields_come_in_their_types():
    digest = digest_of(b"")
    fields = fields_of(f'{{"d":["{digest}"],"b":"aG\\nk=","m":{{"k":"v","n":null}},"l":[],"o":{{"x":1}}}}')

    assert fields.digests("d") == (digest,)
    assert fields.data("b") == b"hi"
    assert fields.string_map("m") == {"k": "v", "n": ""}
    assert fields.children("l") == ()
    assert fields.child("o").size("x") == 1
    assert fields.has("o")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param('{"MEDIATYPE":"a"}', "a", id="upper case"),
        pytest.param('{"mediaType":"a","MediaType":"b"}', "b", id="a later variant wins"),
        pytest.param('{"MediaType":"b","mediaType":"a"}', "a", id="a later exact match wins"),
        pytest.param('{"mediaType":"a","MEDIATYPE":"b","mediaType":"c"}', "c", id="the last repetition wins"),
        pytest.param('{"media_type":"a"}', "", id="another name"),
    ],
)
def test_keys_match_in_any_case_and_the_last_match_counts(text, value):
    assert fields_of(text).string("mediaType") == value


def test_only_the_letters_that_go_folds_into_ascii_are_folded():
    folded = [chr(c) for c in range(128, 0x110000) if not 0xD800 <= c < 0xE000 and fold_key(chr(c)).isascii()]

    assert folded == ["\u017f", "\u212a"]


def test_string_maps_cannot_be_changed():
    with pytest.raises(TypeError):
        fields_of('{"m":{"k":"v"}}').string_map("m")["k"] = "w"  # type: ignore[index]


def test_numbers_and_flags_have_a_value_when_absent():
    fields = fields_of('{"seconds": 2, "exact": 1.5, "yes": true, "no": false, "some": [1, -2]}')

    assert [fields.number(name) for name in ("seconds", "exact", "absent")] == [2.0, 1.5, 0.0]
    assert [fields.boolean(name) for name in ("yes", "no", "absent")] == [True, False, False]
    assert (fields.integers("some"), fields.integers("absent")) == ((1, -2), ())


def test_a_choice_must_be_one_of_its_words():
    fields = fields_of('{"reason": "zstd", "other": "fun"}')

    assert fields.choice("reason", Reason) is Reason.ZSTD
    for name in ("other", "absent"):
        with pytest.raises(InvalidDocument, match=f"^doc: {name}: expected one of below-min-size, "):
            fields.choice(name, Reason)
