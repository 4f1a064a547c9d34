from __future__ import annotations

import pytest

from docs.generate.settings_tables import SETTINGS_PAGE, with_tables


def test_the_page_has_the_tables_of_the_declared_settings():
    text = SETTINGS_PAGE.read_text()

    assert with_tables(text) == text, "run `make docs`"
    assert '| `settings.tagging.suffix` | `"-soci"` |' in text
    assert "| `deployment.layers_at_a_time` |" in text


def test_a_text_without_markers_is_refused():
    with pytest.raises(ValueError, match="no <!-- settings -->"):
        with_tables("no table here")
