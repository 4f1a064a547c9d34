from __future__ import annotations

import re

import pytest

from soci.errors import TarError
from soci.layer.pax import is_sparse, parse_decimal, parse_number, parse_octal, parse_records, parse_time
from tests.unit.layer.tar_blocks import record

MAX, MIN = 2**63 - 1, -(2**63)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"0000644\0", 0o644),
        (b"644\0\0\0\0\0", 0o644),
        (b"    644 ", 0o644),
        (b" \0 644\0 ", 0o644),
        (b"777777777777777777777", 2**63 - 1),
        (b"1000000000000000000000", -(2**63)),
        (b"1777777777777777777777", -1),
        (b"777777777777", 0o777777777777),
        (b"7\0junk  ", 7),
        (b"\0\0\0\0", 0),
        (b"    ", 0),
        (b"", 0),
    ],
)
def test_an_octal_number_may_be_padded_with_spaces_and_nuls(field, value):
    assert parse_octal(field) == value


@pytest.mark.parametrize(
    "field",
    [
        b"8",
        b"9",
        b"-1",
        b"+1",
        b"0o7",
        b"0x1",
        b"1_1",
        b"7 7",
        b"7 \x007",
        b"a",
        b"\xb2",
        b"2000000000000000000000",
    ],
)
def test_other_characters_are_not_octal(field):
    with pytest.raises(TarError, match=re.escape(f"bad octal number {field!r}")):
        parse_octal(field)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"\x80" + bytes(7), 0),
        (b"\x80" + bytes(6) + b"\x05", 5),
        (b"\xbf" + b"\xff" * 7, 2**62 - 1),
        (b"\xff" * 8, -1),
        (b"\xff" * 7 + b"\xfe", -2),
        (b"\xc0" + bytes(7), -(2**62)),
        (b"\x80" + bytes(3) + b"\x7f" + b"\xff" * 7, MAX),
        (b"\xff" * 4 + b"\x80" + bytes(7), MIN),
        (b"0000005\0", 5),
    ],
)
def test_a_number_with_its_first_bit_set_is_binary(field, value):
    assert parse_number(field) == value


@pytest.mark.parametrize(
    "field",
    [
        b"\x80" + bytes(3) + b"\x80" + bytes(7),
        b"\xff" * 4 + b"\x7f" + b"\xff" * 7,
        b"\xbf" + bytes(11),
        b"\xc0" + bytes(11),
    ],
    ids=["2**63", "-2**63 - 1", "far above", "far below"],
)
def test_a_binary_number_has_at_most_63_bits_and_a_sign(field):
    with pytest.raises(TarError, match="needs more than 63 bits"):
        parse_number(field)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"0", 0),
        (b"-0", 0),
        (b"+7", 7),
        (b"-7", -7),
        (b"007", 7),
        (b"0" * 100_000 + b"7", 7),
        (b"%d" % MAX, MAX),
        (b"%d" % MIN, MIN),
    ],
    ids=["0", "-0", "+7", "-7", "007", "many zeros", "greatest", "least"],
)
def test_a_decimal_number_may_have_a_sign_and_leading_zeros(text, value):
    assert parse_decimal(text, key=b"size") == value


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"-",
        b"+-1",
        b"1.0",
        b" 1",
        b"1 ",
        b"1\n",
        b"1_0",
        b"0x1",
        b"1e3",
        b"\xd9\xa1",
        b"%d" % (MAX + 1),
        b"9" * 99_999,
    ],
    ids=lambda text: repr(text[:20]),
)
def test_other_texts_are_not_decimal_numbers(text):
    with pytest.raises(TarError, match="pax record size is not a 64-bit number"):
        parse_decimal(text, key=b"size")


@pytest.mark.parametrize(
    ("text", "seconds", "nanoseconds"),
    [
        (b"0", 0, 0),
        (b"1700000000.5", 1_700_000_000, 500_000_000),
        (b"1.", 1, 0),
        (b"1.000000001", 1, 1),
        (b"1.1234567899999", 1, 123_456_789),
        (b"-1", -1, 0),
        (b"-1.5", -2, 500_000_000),
        (b"-0.5", -1, 500_000_000),
        (b"-1.0", -1, 0),
        (b"+1.5", 1, 500_000_000),
    ],
)
def test_a_time_has_seconds_and_a_fraction_of_which_nine_digits_count(text, seconds, nanoseconds):
    assert parse_time(text, key=b"mtime") == (seconds, nanoseconds)


@pytest.mark.parametrize("text", [b".5", b"1.x", b"1.-5", b"1.5.5", b"1,5", b"-.5", b"1.5 "])
def test_other_texts_are_not_times(text):
    with pytest.raises(TarError, match="pax record mtime is no"):
        parse_time(text, key=b"mtime")


def test_records_are_read_to_the_end_and_the_last_of_equal_keys_counts():
    data = record(b"path", b"one") + record(b"comment", b"a=b\n\xff\0") + record(b"path", b"two")

    assert parse_records(data) == {b"path": b"two", b"comment": b"a=b\n\xff\0"}


def test_no_bytes_are_no_records():
    assert parse_records(b"") == {}


@pytest.mark.parametrize(
    "data", [b"6 a=b\n", b"+7 a=b\n", b"0" * 92 + b"100 a=b\n"], ids=["plain", "plus", "zeros"]
)
def test_a_length_counts_itself_and_may_have_a_sign_and_zeros(data):
    assert parse_records(data) == {b"a": b"b"}


@pytest.mark.parametrize(
    "data",
    [
        b"a=b\n",
        b"5 a=b\n",
        b"7 a=b\n",
        b"60 a=b\n",
        b"4 =\n",
        b"-6 a=b\n",
        b"x a=b\n",
        b" a=b\n",
        b"6 a=bx",
        b"6",
        b"6 ",
        b"00000005 ",
        b"99999999999999999999999 a=b\n",
        b"6 a=b\n\0",
    ],
)
def test_a_record_whose_length_is_not_exact_fails(data):
    with pytest.raises(TarError, match=r"bad pax record .*: wrong length"):
        parse_records(data)


@pytest.mark.parametrize(
    "data", [b"6 abc\n", b"6 =bc\n", b"7 a\0=b\n"], ids=["no equals", "no key", "NUL in key"]
)
def test_a_record_without_a_valid_key_fails(data):
    with pytest.raises(TarError, match=r"bad pax record .*: no valid key"):
        parse_records(data)


@pytest.mark.parametrize("key", [b"path", b"linkpath", b"uname", b"gname"])
def test_a_name_has_no_nul_in_it(key):
    with pytest.raises(TarError, match="no valid key"):
        parse_records(record(key, b"a\0b"))


def test_sparse_pairs_become_one_map():
    pairs = [(b"offset", b"0"), (b"numbytes", b"10"), (b"offset", b"512"), (b"numbytes", b"20")]
    data = b"".join(record(b"GNU.sparse." + key, value) for key, value in pairs)

    records = parse_records(data)

    assert records == {b"GNU.sparse.map": b"0,10,512,20"}
    assert is_sparse(records)


@pytest.mark.parametrize(
    "pairs",
    [
        [(b"numbytes", b"1")],
        [(b"offset", b"1"), (b"offset", b"2")],
        [(b"offset", b"1,2")],
    ],
    ids=["length first", "two offsets", "comma"],
)
def test_sparse_pairs_must_alternate(pairs):
    data = b"".join(record(b"GNU.sparse." + key, value) for key, value in pairs)

    with pytest.raises(TarError, match="offset and numbytes must alternate"):
        parse_records(data)


def test_a_file_without_sparse_records_is_not_sparse():
    assert not is_sparse({b"path": b"x"})
