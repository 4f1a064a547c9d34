from __future__ import annotations

import pytest

from soci.reasons import Reason
from soci.service.outcomes import ImageReason


@pytest.mark.parametrize("reason", ImageReason)
def test_every_reason_is_explained_by_a_sentence_of_its_own(reason):
    sentences = [other.sentence for other in ImageReason]

    assert reason.sentence.endswith(".")
    assert sentences.count(reason.sentence) == 1


def test_the_words_for_images_are_not_those_for_layers():
    assert not set(ImageReason) & set(Reason)
