"""How a long read of layers tells what it has done."""

from __future__ import annotations

from typing import Protocol

from soci.oci.descriptor import Descriptor


class Progress(Protocol):
    """Shows how far each layer is. Several threads call it."""

    def start(self, layer: Descriptor) -> None:
        """Show that a layer is about to be read."""

    def advance(self, layer: Descriptor, size_bytes: int) -> None:
        """Show that so many more bytes of it have been read."""

    def finish(self, layer: Descriptor) -> None:
        """Show that the layer is done, or left out."""
