"""The paths by which the lazy reader knows the files of a layer."""

from __future__ import annotations

import posixpath


def clean_path(name: bytes) -> bytes:
    """Return the reader's path of a name: from the root, without `.`, `..`, doubled or trailing slashes."""
    return posixpath.normpath(b"/" + name.lstrip(b"/"))
