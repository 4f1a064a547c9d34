from __future__ import annotations

import re

import pytest

from soci.reasons import LeftOut, Reason

each_reason = pytest.mark.parametrize("reason", list(Reason))


@each_reason
def test_a_reason_has_a_stable_name_and_one_sentence(reason):
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", reason)
    assert re.fullmatch(r"[A-Z][^\n]*[^.]\.", reason.sentence)


def test_no_two_reasons_say_the_same():
    assert len({reason.sentence for reason in Reason}) == len(Reason)


@each_reason
def test_a_left_out_layer_has_a_reason_and_a_detail(reason):
    assert str(LeftOut(reason=reason)) == reason.sentence
    assert str(LeftOut(reason=reason, detail="entry a/b")) == f"{reason.sentence} (entry a/b)"
