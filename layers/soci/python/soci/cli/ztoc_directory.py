"""A directory that keeps zTOCs from run to run, for `--cache`.

    DIR/sha256-LAYER/SETTINGS-SUM.ztoc      each file is one zTOC; SUM is over layer, settings and every byte

The sum shows damage, and a file that was moved. It does not show who wrote a file: whoever may write to the directory
decides what an index says. Several runs may use it at the same time. What is deleted is built again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from soci.build.layer import RecompressedLayer, Reused
from soci.build.plan import PlannedLayer
from soci.build.reuse import KnownZtoc, ReuseKey, check_again, reuse_key
from soci.errors import IntegrityError
from soci.oci.digest import digest_of
from soci.places.layout.atomic_files import write_atomically
from soci.places.layout.extents import storage_errors
from soci.places.ports import ImageSource
from soci.settings import IndexSettings
from soci.ztoc.model import IndexedLayer

_SETTINGS_DIGITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedZtocs:
    """The zTOCs of a directory as `soci.build.reuse.KnownZtocs`. Recompressed layers are not kept."""

    directory: ZtocDirectory
    source: ImageSource
    settings: IndexSettings

    def find(self, layer: PlannedLayer) -> KnownZtoc | None:
        """Return the cached zTOC if it fits the layer. Raises `SourceError`."""
        data = self.directory.find(reuse_key(layer, self.settings))
        if data is None:
            return None
        try:
            indexed = check_again(self.source, layer.descriptor, data, self.settings)
        except IntegrityError:
            return None  # a damaged layer is detected when the whole of it is read
        return KnownZtoc(indexed=indexed, reused=Reused.CACHED)

    def record(
        self, layer: PlannedLayer, indexed: IndexedLayer, recompressed: RecompressedLayer | None
    ) -> None:
        """Write a new zTOC. Raises `StorageError`."""
        if recompressed is None:
            self.directory.keep(reuse_key(layer, self.settings), indexed.ztoc)


class ZtocDirectory:
    """zTOCs by their keys, as files."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def find(self, key: ReuseKey) -> bytes | None:
        """Return the undamaged zTOC of a key; None if there is none. Raises `StorageError`."""
        for file in self._files(key):
            with storage_errors(file), suppress(FileNotFoundError):  # another run may have deleted it
                data = file.read_bytes()
                if file == self._file(key, data):
                    return data
        return None

    def keep(self, key: ReuseKey, ztoc: bytes | bytearray) -> None:
        """Write a zTOC, then delete older ones with its key. Raises `StorageError`."""
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
