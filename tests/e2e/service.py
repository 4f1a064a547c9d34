"""Helpers for tests of the whole system: images, pushes, and checks of the final state."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from local.registry import Behaviour
from local.registry.store import Manifest, Repository
from local.system.record import Status
from local.system.system import INDEX_IMAGE, LocalSystem
from local.system.workflows import Execution
from soci.oci import media_types
from soci.oci.platform import Platform
from soci.places.layout.oci_layout import OciLayout
from tests.builders import Image, describe, file, gzip_of, image_of, layout_of, noise, tar_of

SOCI_INDEX = Path(sys.executable).with_name("soci-index")

SPAN_SIZE_BYTES = 65_536
MIN_LAYER_SIZE_BYTES = 20_000
SMALL: Mapping[str, Mapping[str, Any]] = {
    "rules": {"min_image_size_bytes": 100_000},
    "index": {"min_layer_size_bytes": MIN_LAYER_SIZE_BYTES, "span_size_bytes": SPAN_SIZE_BYTES},
    "tagging": {},
}
"""Settings for the small images of tests."""

FLAGS = ("--all-platforms", "--span-size", SPAN_SIZE_BYTES, "--min-layer-size", MIN_LAYER_SIZE_BYTES)
"""The same for the command line."""

NO_RATES = Behaviour(rates={})
"""ECR without rate limits, so that tests do not wait."""


def settings(**sections: Mapping[str, Any]) -> dict[str, Any]:
    """Return SMALL with changes, by section."""
    return {name: {**SMALL[name], **sections.get(name, {})} for name in SMALL}


# --- images -------------------------------------------------------------------------------------------------


def layer(name: str, size_bytes: int = 150_000) -> bytes:
    """A gzip layer of about this size whose content goes by its name."""
    return gzip_of(tar_of(file(f"srv/{name}", noise(size_bytes, name))), level=1)


def an_image(name: str, *, platform: str = "linux/amd64", sizes: Sequence[int] = (150_000, 60_000)) -> Image:
    """An image whose layers are its own."""
    layers = [layer(f"{name}-{number}-{platform}", size) for number, size in enumerate(sizes)]
    return image_of(*layers, platform=platform)


def attestation_of(image: Image) -> Image:
    """What BuildKit puts beside an image: a manifest of an in-toto statement, for no platform."""
    statement, config = b'{"predicateType":"https://slsa.dev/provenance/v1"}', b"{}"
    document = {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_MANIFEST,
        "config": described(config, media_types.OCI_CONFIG),
        "layers": [described(statement, "application/vnd.in-toto+json")],
    }
    data = json.dumps(document).encode()
    annotations = {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": str(image.root.digest),
    }
    root = describe(
        data,
        media_types.OCI_MANIFEST,
        annotations=annotations,
        platform=Platform(os="unknown", architecture="unknown"),
    )
    blobs = {describe(blob, "").digest: blob for blob in (statement, config, data)}
    return Image(root=root, blobs=blobs)


def described(data: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(describe(data, media_type).digest), "size": len(data)}


def put(repository: Repository, image: Image, tag: str) -> None:
    """Put an image without an event, as from before the service was deployed."""
    for digest, blob in image.blobs.items():
        if digest != image.root.digest:
            repository.put_blob(blob)
    repository.put_manifest(image.document, tag=tag)


# --- pushing and running ------------------------------------------------------------------------------------


class Service:
    """A system, and what happened in it since the last call."""

    def __init__(self, system: LocalSystem, directory: Path) -> None:
        self.system = system
        self.directory = directory
        self._layouts = 0

    def layout(self, image: Image) -> Path:
        """The image as an OCI layout with the tag `latest`."""
        self._layouts += 1
        return layout_of(self.directory / f"layout-{self._layouts}", image)

    def push(self, image: Image, repository: str, tag: str | None) -> list[Execution]:
        """Push an image, wait until the system is idle, and return the executions that the push started."""
        source = OciLayout(self.layout(image), tag="latest")
        return self.since(lambda: self.system.push(source, repository, tag))

    def since(self, act: Any) -> list[Execution]:
        """Call a function, wait until the system is idle, and return the executions that were started."""
        before = len(self.system.executions())
        act()
        self.system.wait_idle()
        return self.system.executions()[before:]

    def run(self, **request: Any) -> Execution:
        """Start IndexImage by hand and wait until the system is idle."""
        execution = self.since(lambda: self.system.start_index(request))[0]
        assert execution.status is Status.SUCCEEDED, execution.run.cause
        return execution

    def tags(self, repository: str) -> dict[str, str]:
        return dict(self.repository(repository).tags)

    def repository(self, name: str) -> Repository:
        return self.system.registry.repository(name)


def outcomes(executions: Sequence[Execution]) -> list[tuple[str, str | None]]:
    """Outcome and reason of each, in the order in which they started."""
    for execution in executions:
        assert execution.status is Status.SUCCEEDED, (execution.run.error, execution.run.cause)
    return [(execution.output["outcome"], execution.output["reason"]) for execution in executions]


def worked(execution: Execution) -> bool:
    """Whether a state that indexes or publishes was entered."""
    return any(visit.state.startswith(("Index layer", "Publish")) for _, visit in execution.run.walk())


def soci_index(*arguments: object) -> Any:
    """Run the command line and give its JSON."""
    command = [str(SOCI_INDEX), *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def converted(layout: Path, *flags: object) -> str:
    """The digest that `soci-index convert` gives for the same image."""
    return str(soci_index("convert", f"oci:{layout}:latest", *FLAGS, *flags)["digest"])


# --- what has to hold ---------------------------------------------------------------------------------------


def missing_below(repository: Repository, manifest: Manifest) -> Iterator[str]:
    """Yield the digests that a manifest refers to, directly or not, and that are missing."""
    document = manifest.document
    blobs = [document[key] for key in ("config",) if key in document] + document.get("layers", [])
    yield from (blob["digest"] for blob in blobs if blob["digest"] not in repository.blobs)
    for digest in manifest.children:
        child = repository.manifests.get(digest)
        if child is None:
            yield digest
        else:
            yield from missing_below(repository, child)


def assert_nothing_dangles(repository: Repository) -> None:
    """Every tag and every manifest is complete."""
    for tag, digest in repository.tags.items():
        assert digest in repository.manifests, f"{tag} names nothing"
    for manifest in repository.manifests.values():
        assert not list(missing_below(repository, manifest)), f"{manifest.digest} is not whole"
        assert manifest.subject is None or manifest.subject in repository.manifests


def assert_sound(system: LocalSystem, repositories: Sequence[str]) -> None:
    """Invariants: every execution has ended, nothing dangles, and no event of ours started work."""
    system.wait_idle()
    assert system.running() == []
    for name in repositories:
        assert_nothing_dangles(system.registry.repository(name))
    # What an execution published is an event again; the execution that this starts does no work, so nothing follows.
    ended = [e.output for e in system.executions(INDEX_IMAGE) if e.output]
    made = {(o["repository"], o["v2"]["tag"], o["v2"]["digest"]) for o in ended if o.get("v2")}
    for execution in system.executions(INDEX_IMAGE):
        output = execution.output or {}
        is_ours = (output.get("repository"), output.get("tag"), output.get("digest")) in made
        if is_ours and output["origin"] == "push":
            assert output["reason"] == "own-artifact", output
            assert not worked(execution)


def entries_of(repository: Repository, reference: str) -> list[dict[str, Any]]:
    """The entries of an image index, as JSON."""
    found = repository.find(reference)
    assert found is not None, reference
    return list(found.document["manifests"])
