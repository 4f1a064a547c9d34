from __future__ import annotations

import pytest

from soci.errors import DigestMismatch, SizeMismatch
from soci.oci.descriptor import Descriptor
from soci.oci.digest import digest_of
from soci.oci.integrity import check_content, checked

CONTENT = b"some content"


def describe(size: int = len(CONTENT), algorithm: str = "sha256") -> Descriptor:
    return Descriptor(media_type="m", digest=digest_of(CONTENT, algorithm), size=size)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("chunk_size", [1, 5, 100])
def test_right_content_passes_unchanged(chunk_size, algorithm):
    chunks = [CONTENT[i : i + chunk_size] for i in range(0, len(CONTENT), chunk_size)]

    assert list(checked(describe(algorithm=algorithm), chunks)) == chunks


def test_content_that_is_too_long_is_refused_at_once():
    chunks = checked(describe(size=4), iter([b"some", b" content"]))

    assert next(chunks) == b"some"
    with pytest.raises(SizeMismatch, match="more than the 4 bytes declared"):
        next(chunks)


def test_content_that_is_too_short_is_refused_at_the_end():
    with pytest.raises(SizeMismatch, match="12 bytes, 13 declared"):
        list(checked(describe(size=13), [CONTENT]))


def test_other_content_of_the_same_size_is_refused():
    with pytest.raises(DigestMismatch, match=str(digest_of(b"SOME CONTENT"))):
        check_content(describe(), b"SOME CONTENT")
