"""SOCI indexes: with one, a container starts before its image is downloaded."""

from __future__ import annotations

__version__ = "0.1.0"
