"""`soci-index estimate`: what it takes the deployed service to index some images, in requests, seconds and dollars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from soci.cli import options
from soci.cli.json_files import DEFAULT_SETTINGS, SettingsOption, read_json, read_settings
from soci.cli.terminal import count_text, print_error, print_json, print_lines, print_table, size_text
from soci.errors import InvalidOption
from soci.oci.reference import parse_reference
from soci.places.open import open_source
from soci.service import estimate as model
from soci.service import prices
from soci.service.cost import USD_PER_GB_SECOND, FunctionSizes
from soci.service.estimate import DEFAULT_SIZES, PUT_IMAGE_PER_SECOND, Assumptions, Estimate
from soci.service.filter.decide import decide
from soci.service.filter.rules import promised_tag
from soci.service.messages import Action, Decision, ImageRequest
from soci.service.outcomes import ImageReason
from soci.service.settings.configuration import Configuration, NamePatterns

_MEASURED = Assumptions()
_MAX_SECONDS = 900
_MAX_PERCENT = 100
_rate = options.number_between(0.1, 1_000_000_000)

_PushesOption = Annotated[
    int,
    typer.Option("--pushes-per-month", min=1, max=10_000_000, help="How often each of them is pushed."),
]
_MonthsOption = Annotated[
    float,
    typer.Option(
        "--months-kept",
        parser=options.number_between(0, 1_200),
        metavar="NUMBER",
        help="How long each index stays in the registry.",
    ),
]
_CpuOption = Annotated[
    float,
    typer.Option(
        "--cpu-seconds-per-gb",
        parser=_rate,
        metavar="NUMBER",
        help="To index gzip, as `make bench` measures it.",
    ),
]
_NetworkOption = Annotated[
    float,
    typer.Option(
        "--network-mb-per-second", parser=_rate, metavar="NUMBER", help="From the registry to a function."
    ),
]
_ReusedOption = Annotated[
    float,
    typer.Option(
        "--reused-percent",
        parser=options.number_between(0, _MAX_PERCENT),
        metavar="NUMBER",
        help="Of the bytes, in layers indexed before.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Estimated:
    image: str
    decision: Decision
    estimate: Estimate


def estimate(
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE...", help="as for `plan`; each may be of another kind")
    ],
    *,
    settings: SettingsOption = None,
    pushes_per_month: _PushesOption = 1,
    months_kept: _MonthsOption = 1.0,
    cpu_seconds_per_gb: _CpuOption = _MEASURED.cpu_seconds_per_gb,
    network: _NetworkOption = _MEASURED.network_mb_per_second,
    reused_percent: _ReusedOption = 0.0,
    as_json: options.JsonOption = False,
) -> None:
    """Estimate what it takes the service to index images: calls, GB-seconds, states, requests, storage, dollars.

    Reads documents only. Prices are list prices of one region and change; docs/cost.md tells the model.
    """
    configuration, sizes = read_settings(settings), read_sizes(settings)
    assumptions = replace(
        _MEASURED,
        cpu_seconds_per_gb=cpu_seconds_per_gb,
        network_mb_per_second=network,
        reused_share=reused_percent / _MAX_PERCENT,
    )
    found = []
    for image in images:
        decision = _decide(image, configuration)
        found.append(
            _Estimated(
                image=image,
                decision=decision,
                estimate=model.estimate(decision, configuration, sizes, assumptions),
            )
        )
    monthly = _Monthly(found=found, pushes=pushes_per_month, months_kept=months_kept)
    if as_json:
        print_json(_document(found, sizes, assumptions, monthly))
    else:
        _print(found, monthly)
    for one in found:
        if one.estimate.longest_layer_seconds > _MAX_SECONDS:
            print_error(
                f"{one.image}: its largest layer would take {one.estimate.longest_layer_seconds:.0f} seconds, "
                f"a function has {_MAX_SECONDS}"
            )


def _decide(image: str, configuration: Configuration) -> Decision:
    """Plan an image as the filter does, but for the rules on names and for what is there already."""
    reference = parse_reference(image)
    rules = replace(configuration.rules, repositories=NamePatterns(), tags=NamePatterns())
    request = ImageRequest(repository="image", tag="latest", force=True)
    source = open_source(reference)
    source.fetch_root()  # that it is not there is an error here, no decision
    decision = decide(request, replace(configuration, rules=rules), lambda _, __: source)
    is_promised = decision.platforms and promised_tag(request, configuration) is not None
    if decision.action is Action.SKIP and is_promised and decision.reason is not ImageReason.NOT_AN_IMAGE:
        return replace(decision, action=Action.TAG)  # every other tag seemed to name the image already
    return decision


def read_sizes(path: Path | None) -> FunctionSizes:
    """Read what the functions of a deployment have, of a cdk.json that says so. Raises `InvalidOption`."""
    if path is None and not DEFAULT_SETTINGS.is_file():
        return DEFAULT_SIZES
    document = read_json(path or DEFAULT_SETTINGS)
    context = document.get("context") if isinstance(document, Mapping) else None
    deployment = context.get("deployment", {}) if isinstance(context, Mapping) else {}
    if not isinstance(deployment, Mapping):
        raise InvalidOption(f"{path or DEFAULT_SETTINGS}: deployment: got {deployment!r}, want an object")
    architecture = deployment.get("lambda_architecture", DEFAULT_SIZES.architecture)
    if architecture not in USD_PER_GB_SECOND:
        raise InvalidOption(
            f"{path or DEFAULT_SETTINGS}: deployment.lambda_architecture: got {architecture!r}"
        )

    def memory(name: str, usual: int) -> int:
        function = deployment.get(name, {})
        found = function.get("memory_mib", usual) if isinstance(function, Mapping) else None
        if not isinstance(found, int) or isinstance(found, bool) or found <= 0:
            raise InvalidOption(f"{path or DEFAULT_SETTINGS}: deployment.{name}.memory_mib: got {found!r}")
        return found

    return FunctionSizes(
        architecture=architecture,
        image_filter=memory("image_filter", DEFAULT_SIZES.image_filter),
        index_layer=memory("index_layer", DEFAULT_SIZES.index_layer),
        publish_index=memory("publish_index", DEFAULT_SIZES.publish_index),
        outcome_recorder=memory("outcome_recorder", DEFAULT_SIZES.outcome_recorder),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Monthly:
    """All images together, in a month like any other."""

    found: Sequence[_Estimated]
    pushes: int
    months_kept: float

    @property
    def indexing_usd(self) -> float:
        return self.pushes * sum(one.estimate.total_usd for one in self.found)

    @property
    def storage_bytes(self) -> float:
        return self.pushes * self.months_kept * sum(one.estimate.storage_bytes for one in self.found)

    @property
    def storage_usd(self) -> float:
        per_month = sum(one.estimate.storage_usd_per_month for one in self.found)
        return self.pushes * self.months_kept * per_month

    @property
    def put_image_minutes(self) -> float:
        """How long ECR's quota makes all of it take at least, if it is done at once."""
        return self.pushes * sum(one.estimate.put_image for one in self.found) / PUT_IMAGE_PER_SECOND / 60


def _document(
    found: Sequence[_Estimated], sizes: FunctionSizes, assumptions: Assumptions, monthly: _Monthly
) -> dict[str, object]:
    return {
        "images": [
            {
                "image": one.image,
                "action": one.decision.action,
                "reason": one.decision.reason,
                **one.estimate.to_document(),
            }
            for one in found
        ],
        "month": {
            "pushes_of_each": monthly.pushes,
            "months_kept": monthly.months_kept,
            "indexing_usd": round(monthly.indexing_usd, 6),
            "storage_bytes": int(monthly.storage_bytes),
            "storage_usd": round(monthly.storage_usd, 6),
            "put_image_minutes": round(monthly.put_image_minutes, 2),
        },
        "assumptions": {name: getattr(assumptions, name) for name in Assumptions.__dataclass_fields__},
        "functions": {name: getattr(sizes, name) for name in FunctionSizes.__dataclass_fields__},
        "prices": {"region": prices.REGION, "as_of": prices.AS_OF},
    }


_COLUMNS = (
    *("IMAGE", "ACTION", "LAYERS", "SIZE", "SECONDS", "CALLS", "GB-S", "STATES", "REQUESTS", "PUTIMAGE"),
    *("STORED", "USD", "USD/MONTH"),
)


def _print(found: Sequence[_Estimated], monthly: _Monthly) -> None:
    rows = [_row(one) for one in found]
    print_table(_COLUMNS, rows, right=_COLUMNS[2:])
    lines = [
        f"{one.image}: {one.decision.reason}: {one.decision.reason.sentence}"
        for one in found
        if one.decision.reason
    ]
    times, kept = count_text(monthly.pushes, "time"), f"{monthly.months_kept:g}"
    at_least = f"{monthly.put_image_minutes:.1f} minutes"
    stored = size_text(int(monthly.storage_bytes))
    lines += [
        f"a month, each pushed {times}: indexing {monthly.indexing_usd:.4f} USD",
        f"kept for {kept} months: {stored} in the registry, {monthly.storage_usd:.4f} USD a month",
        f"all at once: {at_least} at least, since ECR takes {PUT_IMAGE_PER_SECOND} PutImage a second",
        f"list prices of {prices.REGION} as of {prices.AS_OF}, without free tiers; prices change",
    ]
    print_lines(lines)


def _row(one: _Estimated) -> tuple[str, ...]:
    made = one.estimate
    return (
        one.image,
        one.decision.action if one.decision.action is not Action.TAG else "tag only",
        str(made.layers),
        size_text(made.layer_bytes),
        f"{made.seconds:.0f}",
        str(made.invocations),
        f"{made.gb_seconds:.1f}",
        str(made.transitions),
        str(made.registry_requests),
        str(made.put_image),
        size_text(made.storage_bytes),
        f"{made.total_usd:.5f}",
        f"{made.storage_usd_per_month:.5f}",
    )
