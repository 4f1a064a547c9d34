"""`python -m docs.generate`: write the generated parts of the manual."""

from __future__ import annotations

from docs.generate.dashboard_picture import PICTURE, picture
from docs.generate.settings_tables import SETTINGS_PAGE, with_tables


def main() -> None:
    """Write the tables of settings and the picture of the dashboard."""
    SETTINGS_PAGE.write_text(with_tables(SETTINGS_PAGE.read_text()))
    PICTURE.write_text(picture())


if __name__ == "__main__":
    main()
