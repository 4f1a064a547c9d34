"""How the lazy reader names the files of a layer."""

from __future__ import annotations

import posixpath


def clean_path(name: bytes) -> bytes:
    """Return a name as the reader files it: from the root, without `.`, `..`, doubled or trailing slashes."""
    return posixpath.normpath(b"/" + name.lstrip(b"/"))
