"""The error of packaging."""

from __future__ import annotations


class PackagingFailed(Exception):
    """The assets cannot be built. The message says why and what to do."""
