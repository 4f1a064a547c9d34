"""`soci-index estimate`: what the deployed service needs to index some images: calls, seconds, storage, dollars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from soci.cli import options
from soci.cli.json_files import SettingsOption, read_settings, read_sizes
from soci.cli.terminal import count_text, print_error, print_json, print_lines, print_table, size_text
from soci.oci.reference import parse_reference
from soci.places.open import open_source
from soci.service import prices
from soci.service.cost import FunctionSizes
from soci.service.messages import Action, Decision
from soci.upkeep.estimate import one_image as model
from soci.upkeep.estimate.month import Month
from soci.upkeep.estimate.one_image import PUT_IMAGE_PER_SECOND, Assumptions, Estimate

_MEASURED = Assumptions()
_MAX_SECONDS = 900
_MAX_PERCENT = 100
_rate = options.number_between(0.1, 1_000_000_000)

_PushesOption = Annotated[
    int,
    typer.Option("--pushes-per-month", min=1, max=10_000_000, help="Pushes of each image."),
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
        help="Processor time to index gzip, as `make bench` measures it.",
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
        help="Share of the bytes in layers that were indexed before.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Estimated:
    image: str
    decision: Decision
    estimate: Estimate


def estimate(
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="as for `plan`")],
    *,
    settings: SettingsOption = None,
    pushes_per_month: _PushesOption = 1,
    months_kept: _MonthsOption = 1.0,
    cpu_seconds_per_gb: _CpuOption = _MEASURED.cpu_seconds_per_gb,
    network: _NetworkOption = _MEASURED.network_mb_per_second,
    reused_percent: _ReusedOption = 0.0,
    as_json: options.JsonOption = False,
) -> None:
    """Estimate what the service needs to index images: calls, GB-seconds, states, requests, storage, dollars.

    Reads no layer. Prices are list prices of one region and change; docs/cost.md explains the model.
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
        decision = model.plan_image(open_source(parse_reference(image)), configuration)
        found.append(
            _Estimated(
                image=image,
                decision=decision,
                estimate=model.estimate(decision, configuration, sizes, assumptions),
            )
        )
    month = Month(estimates=[one.estimate for one in found], pushes=pushes_per_month, months_kept=months_kept)
    if as_json:
        print_json(_document(found, sizes, assumptions, month))
    else:
        _print(found, month)
    for one in found:
        if one.estimate.longest_layer_seconds > _MAX_SECONDS:
            print_error(
                f"{one.image}: its largest layer would take {one.estimate.longest_layer_seconds:.0f} seconds, "
                f"a function has only {_MAX_SECONDS}"
            )


def _document(
    found: Sequence[_Estimated], sizes: FunctionSizes, assumptions: Assumptions, month: Month
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
            "pushes_of_each": month.pushes,
            "months_kept": month.months_kept,
            "indexing_usd": round(month.indexing_usd, 6),
            "storage_bytes": int(month.storage_bytes),
            "storage_usd": round(month.storage_usd, 6),
            "put_image_minutes": round(month.put_image_minutes, 2),
        },
        "assumptions": {name: getattr(assumptions, name) for name in Assumptions.__dataclass_fields__},
        "functions": {name: getattr(sizes, name) for name in FunctionSizes.__dataclass_fields__},
        "prices": {"region": prices.REGION, "as_of": prices.AS_OF},
    }


_COLUMNS = (
    *("IMAGE", "ACTION", "LAYERS", "SIZE", "SECONDS", "CALLS", "GB-S", "STATES", "REQUESTS", "PUTIMAGE"),
    *("STORED", "USD", "USD/MONTH"),
)


def _print(found: Sequence[_Estimated], month: Month) -> None:
    rows = [_row(one) for one in found]
    print_table(_COLUMNS, rows, right=_COLUMNS[2:])
    lines = [
        f"{one.image}: {one.decision.reason}: {one.decision.reason.sentence}"
        for one in found
        if one.decision.reason
    ]
    times, kept = count_text(month.pushes, "time"), f"{month.months_kept:g}"
    at_least = f"{month.put_image_minutes:.1f} minutes"
    stored = size_text(int(month.storage_bytes))
    lines += [
        f"a month, each pushed {times}: indexing {month.indexing_usd:.4f} USD",
        f"kept for {kept} months: {stored} in the registry, {month.storage_usd:.4f} USD a month",
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
