"""The service at work: a push, its event, the workflow and the index; then the same image again."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType

from local.demo.reader import DemoFailed, Reader
from local.demo.start import ROUND_TRIP_SECONDS, show_first_start, show_second_start, why_no_mount
from local.demo.view import Started, images_table, timeline, watch
from local.registry import Behaviour, Delay, request_to
from local.system.record import Status
from local.system.system import INDEX_IMAGE, LocalSystem
from local.system.workflows import Execution
from soci.places.layout.oci_layout import OciLayout
from soci.service.outcomes import ImageReason

REPOSITORY, SMALL_REPOSITORY = "shop/app", "shop/tools"
TAG = "1.0"
SETTINGS: Mapping[str, Any] = {"rules": {"min_image_size_bytes": 10_000_000}}
"""A lower minimum size for the small sample; the rest as deployed."""

SHOWN_LINES = 3
_MB = 1_000_000


def start_system(settings: Mapping[str, Any] = SETTINGS) -> LocalSystem:
    """Deploy the stack with a registry that behaves like ECR."""
    with contextlib.redirect_stderr(io.StringIO()):  # packaging prints sizes
        return LocalSystem(settings=settings, behaviour=Behaviour(), time_scale=0.1)


@dataclass(slots=True, kw_only=True)
class Story:
    """The steps of the demonstration. Each shows what it does and checks the result."""

    console: Console
    system: LocalSystem
    wanted_file: str
    started: list[Started] = field(default_factory=list)

    def tell_stack(self, seconds: float) -> None:
        """Show what is deployed."""
        template = self.system.deployed.template
        names = ", ".join(one.logical_id for one in self.system.deployed.functions)
        self._print(f"   functions   {names}")
        self._print(f"   workflows   {', '.join(template.definitions())}")
        self._print(f"   rules       {len(template.rules())}, for events of ECR and executions")
        self._print(f"   registry    {self.system.registry.host}, like ECR, in {seconds:.1f} s\n")

    def push(self, layout: Path, repository: str, cause: str) -> Execution:
        """Push an image and follow the execution that its event starts."""
        source = OciLayout(layout, tag="latest")
        before = len(self.system.executions(INDEX_IMAGE))
        self._print(f"   $ docker push {self.system.registry.host}/{repository}:{TAG}", style="cyan")
        started = time.perf_counter()
        digest = self.system.push(source, repository, TAG)
        seconds = time.perf_counter() - started
        self._print(f"   {digest} in {seconds:.1f} s, its event arrives\n")
        self.system.bus.drain()
        execution = self.system.executions(INDEX_IMAGE)[before]
        watch(self.console, execution)
        if reason := self._ended(execution).output["reason"]:
            self._print(f"   {reason}: {ImageReason(reason).sentence}")
        self._show_event(execution)
        self.system.wait_idle()
        for other in self.system.executions(INDEX_IMAGE)[before:]:
            self.started.append(
                Started(execution=other, cause=cause if other is execution else "the new tag")
            )
        return execution

    def _show_event(self, execution: Execution) -> None:
        """Show the event of the outcome, which deployments can wait for."""
        event = next(
            one for one in self.system.events_put if one["Resources"][0].endswith(f":{execution.name}")
        )
        detail = json.loads(event["Detail"])
        hint = f", deploy {detail['repository']}:{detail['new_tag']}" if detail["new_tag"] else ""
        self._print(f"   event: {event['DetailType']}{hint}")

    def run_by_hand(self) -> None:
        """Index again as from the console: one image, then all images of the repositories."""
        request = {"repository": REPOSITORY, "tag": TAG, "force": True}
        self._show_input("IndexImage", request)
        execution = watch(self.console, self.system.start_index(request))
        self.started.append(Started(execution=self._ended(execution), cause="by hand"))
        first = next(one.execution for one in self.started if one.execution.output.get("v2"))
        if execution.output["v2"]["digest"] != first.output["v2"]["digest"]:
            raise DemoFailed("the same image gave another digest")
        self._print(f"   the same bytes again: {execution.output['v2']['digest']}\n")

        request = {"repositories": ["shop/*"]}
        self._show_input("ReindexRepositories", request)
        execution = self._ended(self.system.start_reindex(request).wait())
        self._print(f"   {json.dumps(execution.output)}\n")

    def read_through(self, user: Reader) -> None:
        """Verify the index and read one file through it, with the command line."""
        image = f"{self.system.registry.host}/{REPOSITORY}:{TAG}-soci"
        report = json.loads(user.output("verify", image, "--json"))
        if not report["sound"]:
            raise DemoFailed(f"{image} is not sound: {report}")
        self._print(f"   $ soci-index verify {image}", style="cyan")
        self._print(f"   sound: {_counts_text(report['counts'])}")
        listing = json.loads(user.output("ls", image, "/usr/local", "--recursive", "--json"))
        paths = (str(entry["path"]) for entry in listing["entries"])
        path = next(path for path in paths if path.endswith(f"/{self.wanted_file}"))
        self._print(f"   $ soci-index cat {image} {path}", style="cyan")
        for line in user.output("cat", image, path).splitlines()[:SHOWN_LINES]:
            self._print(f"   {line}", style="dim", markup=False)
        read = json.loads(user.output("cat", image, path, "--json"))
        self._print(
            f"   {path}: {read['size_bytes']:,} bytes, for which [bold]{read['bytes_read'] / _MB:.1f} MB[/] were "
            f"read out of [bold]{read['image_bytes'] / _MB:.1f} MB[/]\n"
        )

    def start_container(self, user: Reader, directory: Path) -> None:
        """Start a program from the image, index the image with what it read, start it again. Not without FUSE."""
        if reason := why_no_mount():
            self._print(f"   left out: {reason}\n")
            return
        original = f"{self.system.registry.host}/{REPOSITORY}:{TAG}"
        profile = directory / "start.json"
        self.system.registry.fail(Delay(ROUND_TRIP_SECONDS), where=request_to("GET"), times=None)
        try:
            first = show_first_start(self.console, user, f"{original}-soci", profile)
        finally:
            self.system.registry.heal()
        self._print(f"\n   $ soci-index profile push {original} {profile.name}", style="cyan")
        for line in user.output("profile", "push", original, str(profile)).splitlines():
            self._print(f"   {line}", markup=False)
        request = {"repository": REPOSITORY, "tag": TAG}
        self._show_input("IndexImage", request)
        execution = watch(self.console, self.system.start_index(request))
        self.started.append(Started(execution=self._ended(execution), cause="its profile"))
        self._print()
        self.system.registry.fail(Delay(ROUND_TRIP_SECONDS), where=request_to("GET"), times=None)
        try:
            show_second_start(self.console, user, f"{original}-soci", first)
        finally:
            self.system.registry.heal()

    def sum_up(self) -> None:
        """Show a line for each execution, and the timeline of the first one."""
        self._print(images_table(self.started, self.console))
        worked = next(one for one in self.started if one.execution.output["outcome"] == "indexed")
        self._print(f"\n   The time of the {worked.cause}")
        self._print(timeline(worked.execution.run))
        arrived = [one for one in self.system.bus.arrivals if one.event["source"] == "aws.ecr"]
        dropped = [one for one in arrived if not one.targets]
        self._print(
            f"\n   {len(arrived)} events came from the registry. The rules dropped {len(dropped)} of them at once: "
            f"indexes have no tag\n"
        )

    def _print(self, what: RenderableType = "", *, style: str | None = None, markup: bool = True) -> None:
        """Print without line breaks, so that digests and commands can be copied."""
        self.console.print(what, style=style, markup=markup, soft_wrap=isinstance(what, str))

    def _show_input(self, machine: str, request: Mapping[str, object]) -> None:
        self._print(f"   {machine}: start execution with {json.dumps(request)}", style="cyan")

    def _ended(self, execution: Execution) -> Execution:
        if execution.status is not Status.SUCCEEDED:
            run = execution.run
            raise DemoFailed(f"{execution.state_machine} {execution.status}: {run.error} {run.cause}")
        return execution


def tell(
    console: Console, starting: Future[LocalSystem], layout: Path, small_layout: Path, *, wanted_file: str
) -> str:
    """Run all steps once the system has started. Returns the digest of the published image."""
    started = time.perf_counter()
    with console.status("   synthesizing the stack and packaging its functions"):
        system = starting.result()
    with system, tempfile.TemporaryDirectory() as directory:
        story = Story(console=console, system=system, wanted_file=wanted_file)
        story.tell_stack(time.perf_counter() - started)
        console.print("[bold]4[/]  Push the image: the event starts the workflow")
        published = story.push(layout, REPOSITORY, "push")
        console.print("\n[bold]5[/]  The index is ready")
        user = Reader(system, Path(directory))
        story.read_through(user)
        console.print("[bold]6[/]  Push the image again, and a small one")
        story.push(layout, REPOSITORY, "push again")
        console.print()
        story.push(small_layout, SMALL_REPOSITORY, "a small one")
        console.print("\n[bold]7[/]  Index by hand, as from the console of Step Functions")
        story.run_by_hand()
        console.print("[bold]8[/]  Start a program from the image, as on a machine with a lazy reader")
        story.start_container(user, Path(directory))
        console.print("[bold]9[/]  The outcomes")
        story.sum_up()
        return str(published.output["v2"]["digest"])


def _counts_text(counts: Mapping[str, object]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
