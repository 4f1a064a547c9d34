"""A directory that keeps zTOCs from run to run: a `ZtocCache` on disk, for `--cache`.

    DIR/sha256-LAYER/SETTINGS-SUM.ztoc      each file is a zTOC as it is; SUM is over layer, settings and every byte

So damage shows, and a file that came to lie in another one's place. It does not show who wrote a file: the directory is
trusted, and whoever may write to it decides what an index says. Several runs may use it at the same time. Whatever is
deleted of it is made again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from soci.build.reuse import ReuseKey
from soci.oci.digest import digest_of
from soci.places.layout.atomic import write_atomically
from soci.places.layout.extents import storage_errors

_SETTINGS_DIGITS = 16


class ZtocDirectory:
    """See `soci.build.reuse.ZtocCache`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def find(self, key: ReuseKey) -> bytes | None:
        """Return what was kept; None when that is nothing, or damaged. Raises `StorageError`."""
        for file in self._files(key):
            with storage_errors(file), suppress(FileNotFoundError):  # another run may have tidied up
                data = file.read_bytes()
                if file == self._file(key, data):
                    return data
        return None

    def keep(self, key: ReuseKey, ztoc: bytes | bytearray) -> None:
        """Keep a zTOC, instead of what is kept so far. Raises `StorageError`."""
        file = self._file(key, ztoc)
        with storage_errors(file.parent):
            file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, (ztoc,))
        for other in self._files(key):
            if other != file:
                with storage_errors(other):
                    other.unlink(missing_ok=True)

    def _files(self, key: ReuseKey) -> Iterator[Path]:
        folder = self._folder(key)
        with storage_errors(folder):
            yield from sorted(folder.glob(f"{_settings(key)}-*.ztoc"))

    def _file(self, key: ReuseKey, ztoc: bytes | bytearray) -> Path:
        content = [str(key.layer), key.settings, str(digest_of(ztoc))]
        return self._folder(key) / f"{_settings(key)}-{digest_of(json.dumps(content).encode()).hex}.ztoc"

    def _folder(self, key: ReuseKey) -> Path:
        return self._path / f"{key.layer.algorithm}-{key.layer.hex}"


def _settings(key: ReuseKey) -> str:
    return digest_of(key.settings.encode()).hex[:_SETTINGS_DIGITS]
