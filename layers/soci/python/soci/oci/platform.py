"""Platforms: operating system, architecture and variant.

The rules are containerd's (docs/formats.md, "convert"). Its clients pick the manifest by them, and our output
has to equal that of its `convert`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from soci.errors import InvalidOption
from soci.oci.fields import Fields

UNKNOWN = "unknown"
"""The operating system and the architecture of attestations."""

_WORD = re.compile("[A-Za-z0-9_.-]+")

_ALIASES = {
    "i386": ("386", ""),
    "x86_64": ("amd64", None),
    "x86-64": ("amd64", None),
    "aarch64": ("arm64", None),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
}
"""The usual name of an architecture and its variant. None keeps the variant given."""

_VARIANTS = {
    ("amd64", "v1"): "",
    ("arm64", "8"): "",
    ("arm64", "v8"): "",
    ("arm", ""): "v7",
    ("arm", "5"): "v5",
    ("arm", "6"): "v6",
    ("arm", "7"): "v7",
    ("arm", "8"): "v8",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """The platform of a manifest (OCI image spec, image-index.md), as written there. "" is absent."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read `os/architecture[/variant]` and normalize it. Raises `InvalidOption`.

        As in containerd, arm/v7 and arm64/v8 keep the variant, but arm and arm64 get none.
        """
        parts = text.split("/")
        if len(parts) not in (2, 3) or not all(_WORD.fullmatch(part) for part in parts):
            raise InvalidOption(f"platform {text!r}: expected os/architecture or os/architecture/variant")
        platform = cls(os=parts[0], architecture=parts[1], variant="".join(parts[2:])).normalized()
        if len(parts) == 2 and (platform.architecture, platform.variant) == ("arm", "v7"):
            return replace(platform, variant="")
        if len(parts) == 3 and (platform.architecture, platform.variant) == ("arm64", ""):
            return replace(platform, variant="v8")
        return platform

    @classmethod
    def from_json(cls, fields: Fields) -> Platform:
        """Read the platform object of a descriptor, or the same fields of an image config."""
        return cls(
            os=fields.string("os"),
            architecture=fields.string("architecture"),
            variant=fields.string("variant"),
            os_version=fields.string("os.version"),
            os_features=fields.strings("os.features"),
        )

    def to_json(self) -> dict[str, object]:
        """Return the object in Go's key order."""
        members: dict[str, object] = {"architecture": self.architecture, "os": self.os}
        if self.os_version:
            members["os.version"] = self.os_version
        if self.os_features:
            members["os.features"] = list(self.os_features)
        if self.variant:
            members["variant"] = self.variant
        return members

    def normalized(self) -> Platform:
        """Return the platform under its usual names: aarch64 is arm64, arm64/v8 is arm64, arm is arm/v7.

        An absent operating system means linux.
        """
        os = self.os.lower() or "linux"
        architecture, variant = self.architecture.lower(), self.variant.lower()
        usual_name, implied_variant = _ALIASES.get(architecture, (architecture, None))
        variant = variant if implied_variant is None else implied_variant
        return replace(
            self,
            os="darwin" if os == "macos" else os,
            architecture=usual_name,
            variant=_VARIANTS.get((usual_name, variant), variant),
        )

    def matches(self, other: Platform) -> bool:
        """Tell whether both are the same platform. An older variant does not match, although it would run."""
        mine, theirs = self.normalized(), other.normalized()
        return (mine.os, mine.architecture, mine.variant) == (theirs.os, theirs.architecture, theirs.variant)

    @property
    def is_unknown(self) -> bool:
        """Whether the manifest is no image for a machine, but an attestation, for example."""
        return UNKNOWN in (self.os, self.architecture)

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os or UNKNOWN, self.architecture or UNKNOWN, self.variant)))
