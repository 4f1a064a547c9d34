"""References to images: a place and an image in it.

The syntax is that of skopeo (containers-transports(5)): a transport, a path that ends at the first colon, then
a tag. We also accept a digest after `@`, which skopeo does not for layouts. A reference without a transport, or
with `docker://`, is an image in a registry, written as for Docker.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soci.errors import InvalidDocument, InvalidReference
from soci.oci.digest import Digest

ACCEPTED_FORMS = (
    "[HOST/]NAME[:TAG|@DIGEST] in a registry, "
    "oci:DIR[:TAG|@DIGEST], oci-archive:FILE[:TAG|@DIGEST], docker-archive:FILE[:NAME:TAG]"
)

DOCKER_HUB = "docker.io"
DEFAULT_TAG = "latest"
MAX_PORT = 65_535
MAX_NAME_LENGTH = 255
"""Of host and repository together. Some registries refuse more (distribution spec, "Pulling manifests")."""

MAX_TAG_LENGTH = 128
TAG_FORM = f"at most {MAX_TAG_LENGTH} letters, digits and . _ -"
"""A registry's tags (distribution spec, "Pulling manifests"), in words for an error message."""

_DIGEST_AT_END = re.compile(r"@(sha\d+:[^@/]*)$")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@/+-]{0,254}")
"""The name of an entry in a layout: a ref.name of the image spec or a tag of the distribution spec."""

_NAME_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_REGISTRY_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::\d+)?|\[[0-9a-fA-F:]+\](?::\d+)?")
_PORT = re.compile(r":(\d+)$")
_DIGEST = re.compile(r"@([^@/]*)$")
_WEB_SCHEME = re.compile(r"https?://", re.IGNORECASE)
_OTHER_TRANSPORTS = frozenset(
    {"containers-storage", "dir", "docker", "docker-daemon", "ostree", "sif", "tarball"}
)
"""Transports of skopeo. Without this list, they would pass as image names on Docker Hub."""

_REGISTRY_TAG = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.-]{{0,{MAX_TAG_LENGTH - 1}}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _LayoutRef:
    path: Path
    tag: str | None = None
    digest: Digest | None = None

    def __post_init__(self) -> None:
        if self.tag is not None and not _TAG.fullmatch(self.tag):
            raise InvalidReference(f"tag {self.tag[:300]!r}: expected letters, digits and . _ - + : @ /")
        if self.tag is not None and self.digest is not None:
            raise InvalidReference(f"{self}: a tag and a digest; give one of them")

    def _suffix(self) -> str:
        tag = "" if self.tag is None else f":{self.tag}"
        return tag if self.digest is None else f"{tag}@{self.digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OciLayoutRef(_LayoutRef):
    """`oci:DIR[:TAG|@DIGEST]`: an image in an OCI layout, a directory. Without both: its only image."""

    def __str__(self) -> str:
        return f"oci:{self.path}{self._suffix()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OciArchiveRef(_LayoutRef):
    """`oci-archive:FILE[:TAG|@DIGEST]`: an image in a tar file of an OCI layout."""

    def __str__(self) -> str:
        return f"oci-archive:{self.path}{self._suffix()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerArchiveRef:
    """`docker-archive:FILE[:NAME:TAG]`: an image in an archive of `docker save`. `tag` is NAME:TAG as given."""

    path: Path
    tag: str | None = None

    def __post_init__(self) -> None:
        if self.tag is not None:
            full_image_name(self.tag)

    def __str__(self) -> str:
        return f"docker-archive:{self.path}" + ("" if self.tag is None else f":{self.tag}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryRef:
    """`[HOST/]NAME[:TAG][@DIGEST]`: an image in a registry. The digest counts; without both: the default tag."""

    host: str
    """With the port, as written. Docker Hub is `docker.io`."""
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    @property
    def name(self) -> str:
        """The repository with its registry."""
        return f"{self.host}/{self.repository}"

    def __post_init__(self) -> None:
        if not (
            _REGISTRY_HOST.fullmatch(self.host)
            and all(_NAME_COMPONENT.fullmatch(component) for component in self.repository.split("/"))
            and len(self.name) <= MAX_NAME_LENGTH
        ):
            raise InvalidReference(f"image name {self.name[:300]!r}: expected [HOST/]NAME in lower case")
        port = _PORT.search(self.host)
        if port and not 0 < int(port[1]) <= MAX_PORT:
            raise InvalidReference(f"port {port[1][:20]}: expected 1 to {MAX_PORT}")
        if self.tag is not None and not _REGISTRY_TAG.fullmatch(self.tag):
            raise InvalidReference(f"tag {self.tag[:300]!r}: expected {TAG_FORM}")

    def __str__(self) -> str:
        tag = "" if self.tag is None else f":{self.tag}"
        return f"{self.name}{tag}" + ("" if self.digest is None else f"@{self.digest}")


FileReference = OciLayoutRef | OciArchiveRef | DockerArchiveRef
Reference = FileReference | RegistryRef


def parse_reference(text: str) -> Reference:
    """Read a reference. Raises `InvalidReference`, which lists the accepted forms or names the wrong part."""
    transport, _, rest = text.partition(":")
    match transport:
        case "oci":
            return OciLayoutRef(**_parse_layout_parts(text, rest))
        case "oci-archive":
            return OciArchiveRef(**_parse_layout_parts(text, rest))
        case "docker-archive":
            path, _, tag = rest.partition(":")
            return DockerArchiveRef(path=_parse_path(text, path), tag=tag or None)
        case _:
            return _parse_registry_reference(text)


def full_image_name(text: str) -> str:
    """Complete a Docker image name: `app` is `docker.io/library/app:latest`. Raises `InvalidReference`.

    The first component is the registry if it looks like a host: a dot, a port, or `localhost`.
    """
    host, path = _split_host(text)
    path, _, tag = path.partition(":")
    if host == DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    tag = tag or DEFAULT_TAG
    if "@" in text:
        raise InvalidReference(f"image name {text!r}: a Docker archive has names with tags, no digests")
    if not (
        _REGISTRY_HOST.fullmatch(host)
        and all(_NAME_COMPONENT.fullmatch(component) for component in path.split("/"))
        and _REGISTRY_TAG.fullmatch(tag)
    ):
        raise InvalidReference(f"image name {text[:300]!r}: expected [HOST/]NAME[:TAG] in lower case")
    return f"{host}/{path}:{tag}"


def _parse_registry_reference(text: str) -> RegistryRef:
    name = text.removeprefix("docker://")
    if scheme := _WEB_SCHEME.match(name):
        raise InvalidReference(
            f"{text[:300]!r}: leave {scheme[0]} out; registries are asked over HTTPS, on this machine over HTTP"
        )
    if name.partition(":")[0] in _OTHER_TRANSPORTS:
        raise InvalidReference(f"{text[:300]!r}: not a transport that is read; accepted are {ACCEPTED_FORMS}")
    try:
        digest = None
        if at_end := _DIGEST.search(name):
            name = name[: at_end.start()]
            digest = Digest.parse(at_end[1])
        host, path = _split_host(name)
        path, colon, tag = path.partition(":")
        if host == DOCKER_HUB and "/" not in path:
            path = f"library/{path}"
        return RegistryRef(host=host, repository=path, tag=tag if colon else None, digest=digest)
    except (InvalidReference, InvalidDocument) as error:
        raise InvalidReference(f"{text[:300]!r}: {error}; accepted are {ACCEPTED_FORMS}") from None


def _split_host(name: str) -> tuple[str, str]:
    """Split off the registry, as Docker does: by whether the first component looks like a host."""
    first, slash, remainder = name.partition("/")
    has_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    return (first, remainder) if has_host else (DOCKER_HUB, name)


def _parse_layout_parts(text: str, rest: str) -> dict[str, Any]:
    digest = None
    if at_end := _DIGEST_AT_END.search(rest):
        rest = rest[: at_end.start()]
        try:
            digest = Digest.parse(at_end.group(1))
        except InvalidDocument as error:
            raise InvalidReference(f"{text!r}: {error}") from None
    path, _, tag = rest.partition(":")
    return {"path": _parse_path(text, path), "tag": tag or None, "digest": digest}


def _parse_path(text: str, path: str) -> Path:
    if not path:
        raise InvalidReference(f"{text!r}: no path; accepted are {ACCEPTED_FORMS}")
    if "\0" in path:
        raise InvalidReference(f"{text!r}: a path cannot hold a NUL")
    return Path(path)
