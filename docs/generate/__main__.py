"""`python -m docs.generate`: write the generated parts of the manual."""

from __future__ import annotations

from docs.generate.dashboard_picture import PICTURE, picture
from docs.generate.settings_tables import SETTINGS_PAGE, with_tables
from docs.generate.start_measured import START_PAGE, START_PICTURE, results, start_picture, with_measured


def main() -> None:
    """Write the tables of settings, the picture of the dashboard, the measured starts and their picture."""
    SETTINGS_PAGE.write_text(with_tables(SETTINGS_PAGE.read_text()))
    PICTURE.write_text(picture())
    measured = results()
    START_PAGE.write_text(with_measured(START_PAGE.read_text(), measured))
    START_PICTURE.write_text(start_picture(measured))


if __name__ == "__main__":
    main()
