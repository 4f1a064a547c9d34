"""`soci-index decide`: what the deployed filter would do with an event. Tries settings before a deployment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from soci.cli import options
from soci.cli.json_files import SettingsOption, read_json, read_settings
from soci.cli.terminal import print_json, print_lines, print_table, short, size_text
from soci.oci.reference import DockerArchiveRef, Reference, parse_reference
from soci.places.open import open_source
from soci.places.ports import ImageSource
from soci.service.filter.decide import decide as decide_on_image
from soci.service.filter.requests import parse_request
from soci.service.filter.rules import evaluate_names
from soci.service.messages import Action, Decision, ImageRequest, PlatformPlan
from soci.service.outcomes import ImageReason
from soci.service.settings.configuration import Configuration

_ACTIONS: dict[Action | None, str] = {
    None: "passes the rules on names; the rest depends on the image: name one with --image",
    Action.INDEX: "would be indexed",
    Action.TAG: "would get the promised tag and no index",
    Action.SKIP: "would be skipped",
}


def decide(
    event: Annotated[
        Path,
        typer.Argument(metavar="EVENT.json", help="An event of the registry, or a manual request, as JSON."),
    ],
    *,
    settings: SettingsOption = None,
    image: Annotated[
        str | None,
        typer.Option(
            metavar="IMAGE",
            help="Decide as if the event named this image. Without it only the rules on names apply.",
        ),
    ] = None,
    as_json: options.JsonOption = False,
) -> None:
    """Show what the deployed filter would do with an event, and why."""
    request = parse_request(read_json(event))
    configuration = read_settings(settings)
    if image is None:
        _report_names(request, configuration, as_json=as_json)
        return
    stand_in = _StandIn(reference=parse_reference(image), asked=request.tag or str(request.digest))
    root = open_source(stand_in.reference).fetch_root()
    decision = decide_on_image(replace(request, digest=root.digest), configuration, stand_in)
    if as_json:
        print_json(decision.to_document())
    else:
        print_lines(_lines(decision.action, request, decision.reason, decision.detail))
        _print_plan(decision)


@dataclass(frozen=True, slots=True, kw_only=True)
class _StandIn:
    """Opens an image in place of the event's. Its other tags are read from the same place."""

    reference: Reference
    asked: str
    """How the event names its image: the tag, or the digest."""

    def __call__(self, repository: str, reference: str) -> ImageSource:
        """Open the given image for the event's reference; for any other, the image of that tag beside it."""
        if reference == self.asked:
            return open_source(self.reference)
        if isinstance(self.reference, DockerArchiveRef):  # its tags are full image names
            return open_source(replace(self.reference, tag=f"{repository}:{reference}"))
        return open_source(replace(self.reference, tag=reference, digest=None))


def _report_names(request: ImageRequest, configuration: Configuration, *, as_json: bool) -> None:
    verdict = evaluate_names(request, configuration)
    action = Action.SKIP if verdict else None
    reason, detail = (verdict.reason, verdict.detail) if verdict else (None, "")
    if as_json:
        print_json({"action": action, "reason": reason, "detail": detail, **request.to_document()})
    else:
        print_lines(_lines(action, request, reason, detail))


def _lines(
    action: Action | None, request: ImageRequest, reason: ImageReason | None, detail: str
) -> list[str]:
    name = request.repository + (f":{request.tag}" if request.tag else f"@{request.digest}")
    lines = [f"{name} {_ACTIONS[action]}"]
    if reason is not None:
        lines.append(f"  {reason}: {reason.sentence}" + (f" ({detail})" if detail else ""))
    return lines


def _profile_lines(plan: PlatformPlan) -> Iterator[str]:
    """Say which start profile decides the prefetch of a platform, and which one cannot be used."""
    if plan.profile is not None:
        of = "the image" if plan.profile.line is None else f"the line {plan.profile.line}"
        yield f"{plan.platform}: prefetch by the start profile of {of}, {short(plan.profile.digest)}"
    if plan.profile_problem:
        yield f"{plan.platform}: a start profile is not used: {plan.profile_problem}"


def _print_plan(decision: Decision) -> None:
    """Print what becomes of each platform, then the layers to index."""
    if decision.platforms:
        rows = [
            (
                platform.platform,
                short(platform.digest),
                str(len(platform.layers)),
                ", ".join(f"{count} {reason}" for reason, count in platform.left_out.items()) or "-",
                str(platform.reason or "to index"),
            )
            for platform in decision.platforms
        ]
        print_table(("PLATFORM", "MANIFEST", "LAYERS", "LEFT OUT", "RESULT"), rows, right=("LAYERS",))
        print_lines([line for platform in decision.platforms for line in _profile_lines(platform)])
    if decision.layers:
        layers = [
            (short(layer.digest), size_text(layer.size), str(layer.compression)) for layer in decision.layers
        ]
        print_table(("LAYER", "SIZE", "COMPRESSION"), layers, right=("SIZE",))
