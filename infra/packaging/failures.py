"""The one way in which packaging fails."""

from __future__ import annotations


class PackagingFailed(Exception):
    """The assets cannot be built; the message says why, and what to do."""
