from __future__ import annotations

import pytest

from soci.reasons import Reason
from soci.service.outcomes import ImageReason


@pytest.mark.parametrize("reason", ImageReason)
def test_every_reason_has_its_own_sentence(reason):
    sentences = [other.sentence for other in ImageReason]

    assert reason.sentence.endswith(".")
    assert sentences.count(reason.sentence) == 1


def test_reasons_of_images_differ_from_reasons_of_layers():
    assert not set(ImageReason) & set(Reason)
