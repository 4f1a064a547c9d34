from __future__ import annotations

from typing import Any

import pytest

from soci.oci.fields import Fields
from soci.service.reindex.summary import NO_OUTCOME, without_outcome


def fields(*documents: dict[str, Any]) -> list[Fields]:
    return [Fields(document, "image") for document in documents]


SENT = fields(*({"repository": "app", "tag": tag} for tag in ("1", "2", "3")))


@pytest.mark.parametrize(
    ("results", "lost"),
    [
        ([], ["1", "2", "3"]),
        ([{"repository": "app", "tag": "2"}], ["1", "3"]),
        ([{"repository": "app", "tag": "2"}, {"outcome": "failed"}], ["1"]),
        ([{"outcome": "failed"}, {"outcome": "failed"}], ["1"]),
        ([{"outcome": "failed"}] * 3, []),
    ],
    ids=["none", "one", "one-without-a-name", "two-without-names", "as-many-as-images"],
)
def test_there_are_as_many_lost_images_as_results_are_missing(results, lost):
    found = without_outcome(SENT, fields(*results))

    assert [(one.tag, one.reason) for one in found] == [(tag, NO_OUTCOME) for tag in lost]
