"""Image files for tests: a layout on disk, a layout in a tar file, and the output of `docker save`."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.digest import digest_of
from soci.oci.manifest import ImageManifest


def describe(data: bytes, media_type: str = media_types.OCI_LAYER, artifact_type: str = "") -> Descriptor:
    return Descriptor(
        media_type=media_type, digest=digest_of(data), size=len(data), artifact_type=artifact_type
    )


def tar_of(files: Mapping[str, bytes | str]) -> bytes:
    """Make a plain tar; a text is the target of a symbolic link, or of a hard link after "hard:"."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            else:
                member.type = tarfile.LNKTYPE if content.startswith("hard:") else tarfile.SYMTYPE
                member.linkname = content.removeprefix("hard:")
                archive.addfile(member)
    return buffer.getvalue()


@dataclass(frozen=True)
class Image:
    """An image in memory. Its layers are plain tars as they are, so that a layer's digest is its diff_id."""

    layers: tuple[bytes, ...]
    architecture: str = "amd64"

    @property
    def config(self) -> bytes:
        diff_ids = [str(digest_of(layer)) for layer in self.layers]
        rootfs = {"type": "layers", "diff_ids": diff_ids}
        return json.dumps({"architecture": self.architecture, "os": "linux", "rootfs": rootfs}).encode()

    @property
    def manifest(self) -> bytes:
        return ImageManifest(
            config=describe(self.config, media_types.OCI_CONFIG),
            layers=tuple(describe(layer) for layer in self.layers),
        ).encode()

    @property
    def root(self) -> Descriptor:
        return describe(self.manifest, media_types.OCI_MANIFEST)

    @property
    def blobs(self) -> tuple[bytes, ...]:
        return (self.manifest, self.config, *self.layers)


def entry_of(image: Image, **annotations: str) -> dict[str, object]:
    """Make an index.json entry; the keyword `tag` is the ref.name, `name` the one that Docker writes."""
    keys = {"tag": "org.opencontainers.image.ref.name", "name": "io.containerd.image.name"}
    entry = image.root.to_json()
    return entry | {"annotations": {keys[word]: text for word, text in annotations.items()}}


def layout_files(blobs: Iterable[bytes], entries: Iterable[Mapping[str, object]]) -> dict[str, bytes | str]:
    """Name the files of a layout."""
    return {
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        "index.json": json.dumps({"schemaVersion": 2, "manifests": list(entries)}).encode(),
        **{f"blobs/sha256/{digest_of(blob).hex}": blob for blob in blobs},
    }


def write_files(directory: Path, files: Mapping[str, bytes | str]) -> Path:
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return directory


def write_layout(directory: Path, image: Image, tag: str = "latest") -> Path:
    return write_files(directory, layout_files(image.blobs, [entry_of(image, tag=tag)]))


def write_docker_archive(path: Path, image: Image, *names: str) -> Path:
    """Write an archive of the older form, as `docker save` did up to version 24."""
    layers = {f"{number}/layer.tar": layer for number, layer in enumerate(image.layers)}
    saved = [{"Config": "config.json", "RepoTags": list(names), "Layers": list(layers)}]
    path.write_bytes(
        tar_of({"manifest.json": json.dumps(saved).encode(), "config.json": image.config, **layers})
    )
    return path


def skopeo(*arguments: str) -> str:
    """Run skopeo, a required tool of the tests, and return what it prints."""
    command = ["skopeo", "--insecure-policy", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def skopeo_copy(source: str, destination: str) -> None:
    """Copy an image with all its platforms; registries among the places are on this machine, without TLS."""
    places = [_in_skopeo_s_words(place) for place in (source, destination)]
    skopeo(
        "copy", "--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false", *places
    )


def _in_skopeo_s_words(place: str) -> str:
    is_file = place.partition(":")[0] in ("dir", "docker-archive", "oci", "oci-archive")
    return place if is_file else f"docker://{place}"
