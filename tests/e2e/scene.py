"""A repository of a system under test: the expected result, the actual content, and the events sent."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from local.registry.push_events import push_event
from local.system.system import LocalSystem
from local.system.workflows import Execution
from soci.build import recipe as build
from soci.image.documents import Platforms, choose_images, fetch_image
from soci.oci.reference import RegistryRef
from soci.places.layout.oci_layout import OciLayout
from soci.places.registry.credentials import Login
from soci.settings import IndexSettings
from soci.verify import verify_image
from tests.builders import Image, layout_of
from tests.docs.terminal import Terminal
from tests.e2e.remedies import NEXT_SEARCH, SCRIPTS, SETUP, command
from tests.e2e.service import MIN_LAYER_SIZE_BYTES, SPAN_SIZE_BYTES, assert_nothing_dangles
from tests.recipes import Watcher
from tests.registries import open_repository

Json = Any
INDEX = IndexSettings(span_size_bytes=SPAN_SIZE_BYTES, min_layer_size_bytes=MIN_LAYER_SIZE_BYTES)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The expected result for an image, made where nothing fails."""

    digest: str
    new_digest: str
    contents: frozenset[str]
    """Digests of all manifests and blobs, those of the image itself too."""


class OneLogin:
    """A login for the verification."""

    def __init__(self, system: LocalSystem) -> None:
        self._system = system

    def fetch_login(self, host: str, *, renew: bool) -> Login:  # noqa: ARG002 - the shape of the port
        return Login(username="AWS", password=self._system.registry.issue_password())


def made_of(image: Image, directory: Path, *, is_indexed: bool) -> Wanted:
    """Index an image in a folder with the core."""
    place = OciLayout(layout_of(directory, image, tag="1"), tag="1")
    new_digest = str(image.root.digest)
    if is_indexed:
        found = fetch_image(place)
        run = build.Run(
            source=place,
            sink=place,
            image=found,
            chosen=choose_images(found, Platforms.ALL),
            settings=INDEX,
            tag="1-soci",
            jobs=1,
            progress=Watcher(),
        )
        result = build.convert(run)
        assert result.root is not None
        new_digest = str(result.root.digest)
    contents = frozenset(f"sha256:{path.name}" for path in (directory / "blobs" / "sha256").iterdir())
    return Wanted(digest=str(image.root.digest), new_digest=new_digest, contents=contents)


@dataclass(kw_only=True)
class Scene:
    """A repository of the system with its images and their expected results."""

    system: LocalSystem
    shell: Terminal
    repository: str
    wanted: Mapping[str, Wanted]
    executions_before: int

    def announce(self) -> None:
        """Send the events of the images' pushes."""
        repository = self.system.registry.repository(self.repository)
        for tag in self.wanted:
            manifest = repository.find(tag)
            assert manifest is not None
            self.system.bus.put(push_event(self.repository, manifest, tag, time.time()))
        self.system.wait_idle()

    def search(self, *, hours_later: int = 8) -> None:
        """Run the daily search."""
        self.system.run_schedules(datetime.now(UTC) + timedelta(hours=hours_later))
        self.system.wait_idle()

    def apply(self, remedy: str) -> None:
        """Run the commands of the manual."""
        if remedy == NEXT_SEARCH:
            self.search(hours_later=9)
            return
        script = SCRIPTS.get(remedy) or "".join(
            command("Index one image", "start-execution")
            .replace('"app"', f'"{self.repository}"')
            .replace("1.4", tag)
            for tag in self.wanted
        )
        done = self.shell.run(SETUP.text + script)
        assert (done.stderr, done.returncode) == ("", 0)
        self.system.wait_idle()

    def executions(self) -> list[Execution]:
        """The executions started since the scene began."""
        return self.system.executions()[self.executions_before :]

    def told(self, tag: str) -> list[Json]:
        """The events sent about an image, in order."""
        details = [json.loads(entry["Detail"]) for entry in self.system.events_put]
        return [one for one in details if (one["repository"], one["tag"]) == (self.repository, tag)]

    def done(self) -> set[str]:
        """Tags of the images whose last event and content are the expected result."""
        tags = self.system.registry.repository(self.repository).tags
        return {
            tag
            for tag, wanted in self.wanted.items()
            if tags.get(f"{tag}-soci") == wanted.new_digest
            and (told := self.told(tag))
            and told[-1]["outcome"] in {"indexed", "tagged", "skipped"}
            and told[-1]["image_digest"] == wanted.digest
        }

    def wrong(self) -> list[str]:
        """Errors: content that the fault-free run does not have, and content that does not verify."""
        repository = self.system.registry.repository(self.repository)
        right = frozenset[str]().union(*(one.contents for one in self.wanted.values()))
        found = [f"{digest} is there" for digest in {*repository.manifests, *repository.blobs} - right]
        tags = {f"{tag}-soci": one.new_digest for tag, one in self.wanted.items()}
        tags |= {tag: one.digest for tag, one in self.wanted.items()}
        found += [f"{tag} is {digest}" for tag, digest in repository.tags.items() if tags.get(tag) != digest]
        for tag in repository.tags:
            reference = RegistryRef(host=self.system.registry.host, repository=self.repository, tag=tag)
            source = open_repository(reference, logins=OneLogin(self.system))
            report = verify_image(source, compare_files=True)
            found += [f"{tag}: {finding}" for finding in report.findings]
        assert_nothing_dangles(repository)
        return found

    def is_complete(self) -> bool:
        """Whether the repository has exactly the content of the fault-free run."""
        repository = self.system.registry.repository(self.repository)
        right = frozenset[str]().union(*(one.contents for one in self.wanted.values()))
        return {*repository.manifests, *repository.blobs} == right

    def times_indexed(self, tag: str) -> int:
        """How many different indexes the events about an image name."""
        return len({one["new_digest"] for one in self.told(tag) if one["outcome"] == "indexed"})
