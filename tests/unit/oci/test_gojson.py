from __future__ import annotations

import json

import pytest

from soci.errors import InvalidDocument
from soci.oci import gojson


def decode(data: bytes) -> object:
    return gojson.decode(data, "doc", limit_bytes=100_000)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        pytest.param("<&>", rb"\u003c\u0026\u003e", id="html"),
        pytest.param("\u2028\u2029", rb"\u2028\u2029", id="line separators"),
        pytest.param("\x00\x1f\x7f", b"\\u0000\\u001f\x7f", id="control characters"),
        pytest.param('"\\/\n\r\t\b\f', rb"\"\\/\n\r\t\b\f", id="short escapes"),
        pytest.param("é😀\ufffd", "é😀\ufffd".encode(), id="other letters stay"),
        pytest.param("a\ud800b", rb"a\ufffdb", id="lone surrogate"),
    ],
)
def test_strings_are_escaped_as_go_escapes_them(text, written):
    assert gojson.encode([text]) == b'["' + written + b'"]'


def test_documents_are_compact_and_keep_the_order_of_keys():
    assert gojson.encode({"b": 1, "a": [None, True, {}]}) == b'{"b":1,"a":[null,true,{}]}'


def test_map_keys_are_sorted_by_their_utf8_bytes():
    keys = ["b", "B", "é", "\uffff", "😀", "a"]

    assert list(gojson.sorted_map(dict.fromkeys(keys, ""))) == sorted(keys, key=lambda key: key.encode())


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_nan_and_infinity_are_not_written(number):
    with pytest.raises(ValueError, match="not JSON compliant"):
        gojson.encode(number)


@pytest.mark.parametrize(
    ("written", "text"),
    [
        pytest.param(b"\xff\xfe", "\ufffd\ufffd", id="each bad byte by itself"),
        pytest.param(b"\xe2\x82", "\ufffd\ufffd", id="cut sequence"),
        pytest.param(b"\xed\xa0\x80", "\ufffd\ufffd\ufffd", id="surrogate as bytes"),
        pytest.param(rb"\ud800x", "\ufffdx", id="surrogate as escape"),
        pytest.param(rb"\ud83d\ude00", "😀", id="pair of escapes"),
    ],
)
def test_strings_are_read_as_go_reads_them(written, text):
    assert decode(b'["' + written + b'"]') == [text]
    assert decode(b'{"' + written + b'":1}') == {text: 1}


def test_the_last_of_equal_keys_counts_and_takes_the_later_position():
    document = decode(b'{"a":1,"A":2,"a":3}')

    assert isinstance(document, dict)
    assert list(document.items()) == [("A", 2), ("a", 3)]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        pytest.param(b"", "not valid JSON", id="empty"),
        pytest.param(b"{} x", "not valid JSON", id="trailing data"),
        pytest.param(b'{"a":NaN}', "NaN is not a JSON value", id="not a number"),
        pytest.param(b"[-Infinity]", "-Infinity is not a JSON value", id="infinity"),
        pytest.param(b"[1e999]", "out of range", id="float out of range"),
        pytest.param(b"[" + b"9" * 50_000 + b"]", "an integer of 50000 digits", id="huge integer"),
        pytest.param(b"\xef\xbb\xbf{}", "not valid JSON", id="byte order mark"),
        pytest.param(b'["\t"]', "not valid JSON", id="control character in a string"),
        pytest.param(b"[" * 101 + b"]" * 101, "nested deeper than 100 levels", id="a little too deep"),
        pytest.param(b"[" * 50_000, "nested deeper than 100 levels", id="nesting bomb"),
        pytest.param(b'{"a":' * 10_000, "nested deeper than 100 levels", id="nesting bomb of objects"),
        pytest.param(b" " * 100_001, "100001 bytes, the limit for such a document is 100000", id="too large"),
    ],
)
def test_invalid_json_and_json_over_the_limits_is_refused(data, problem):
    with pytest.raises(InvalidDocument, match=f"^doc: .*{problem}"):
        decode(data)


def test_nesting_up_to_the_limit_is_read():
    assert decode(b"[" * 100 + b"]" * 100)


@pytest.mark.parametrize("value", [{"a": "<é😀>", "b": [1, -5, 1.5, None, False]}, [], "x"])
def test_written_json_reads_back(value):
    assert decode(gojson.encode(value)) == value == json.loads(gojson.encode(value))
