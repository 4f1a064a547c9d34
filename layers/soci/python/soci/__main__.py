"""`python -m soci` is the command `soci-index`."""

from __future__ import annotations

from soci.cli.app import main

if __name__ == "__main__":
    main()
