from __future__ import annotations

from typing import Any

import pytest

from soci.service.layer.row_mac import MAC_BYTES, KmsMac


class Kms:
    """A client of KMS that says of every MAC that it is valid, and counts the calls."""

    calls = 0

    def verify_mac(self, **_: Any) -> dict[str, Any]:
        self.calls += 1
        return {"MacValid": True}


@pytest.mark.parametrize("size", [0, MAC_BYTES - 1, MAC_BYTES + 1])
def test_a_mac_of_another_length_is_wrong_and_kms_is_not_asked(size):
    kms = Kms()

    assert KmsMac("key", make_client=lambda: kms).is_right(b"row", "ab" * size) is False
    assert kms.calls == 0


@pytest.mark.parametrize("mac", ["", "no hexadecimal digits", "0"])
def test_a_mac_that_is_no_bytes_is_wrong(mac):
    assert KmsMac("key", make_client=Kms).is_right(b"row", mac) is False


def test_a_mac_of_the_right_length_is_for_kms_to_judge():
    kms = Kms()

    assert KmsMac("key", make_client=lambda: kms).is_right(b"row", "ab" * MAC_BYTES) is True
    assert kms.calls == 1
