"""SOCI indexes: tables of contents that let a container start before its image is downloaded."""

from __future__ import annotations

__version__ = "0.1.0"
