from __future__ import annotations

import pytest

from soci.errors import InvalidDocument
from soci.oci.digest import Digest, digest_of

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_digest_reads_as_it_was_written():
    digest = Digest.parse(EMPTY)

    assert str(digest) == EMPTY
    assert (digest.algorithm, digest.hex) == ("sha256", EMPTY.removeprefix("sha256:"))


def test_equal_content_has_equal_and_hashable_digests():
    assert digest_of(b"") == Digest.parse(EMPTY)
    assert len({digest_of(b"a"), digest_of(bytearray(b"a")), digest_of(b"b")}) == 2


def test_sha512_is_accepted():
    assert Digest.parse(str(digest_of(b"x", "sha512"))).algorithm == "sha512"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("", "no ':'", id="nothing"),
        pytest.param("sha256-" + "a" * 64, "no ':'", id="no separator"),
        pytest.param("md5:" + "a" * 32, "expected algorithm sha256 or sha512, got 'md5'", id="algorithm"),
        pytest.param("SHA256:" + "a" * 64, "expected algorithm", id="algorithm in upper case"),
        pytest.param("sha256:" + "a" * 63, "expected 64 hex digits, got 63", id="too short"),
        pytest.param(
            "sha512:" + "a" * 64, "expected 128 hex digits, got 64", id="length of another algorithm"
        ),
        pytest.param("sha256:" + "A" * 64, "expected lower-case hex digits, got 'A'", id="upper case"),
        pytest.param("sha256:" + "a" * 63 + "/", "got '/'", id="not hex"),
        pytest.param("sha256:" + "a" * 63 + "\n", r"got '\\n'", id="line end"),
    ],
)
def test_the_error_names_the_wrong_part_of_a_digest(text, problem):
    with pytest.raises(InvalidDocument, match=problem):
        Digest.parse(text)


def test_a_digest_made_from_parts_is_checked():
    with pytest.raises(InvalidDocument, match="expected 64 hex digits, got 2"):
        Digest(algorithm="sha256", hex="ab")
