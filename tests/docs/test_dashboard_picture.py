from __future__ import annotations

from typing import Any

from docs.generate.dashboard_picture import PICTURE, picture, sample
from infra.dashboard import dashboard


def test_the_picture_is_drawn_from_the_dashboard():
    body: Any = dashboard(sample(), alarm_arns=["IndexingFailed"], push_to_index_minutes=30)
    titles = [widget["properties"]["title"] for widget in body["widgets"]]

    assert PICTURE.read_text() == picture(), "run `make docs`"
    assert titles
    assert [title for title in titles if title not in PICTURE.read_text()] == []
