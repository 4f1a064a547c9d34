"""The model of cost, held against what it speaks of: the workflow's states, the registry's requests, defaults, docs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra import states
from infra.config import Deployment
from local.registry.journal import REGISTRY
from soci.oci.compression import Compression
from soci.service import prices
from soci.service.cost import FunctionSizes, estimate_usd, transitions
from soci.service.filter.decide import decide
from soci.service.layer_messages import LayerItem
from soci.service.messages import Action, Decision, ImageRequest, PlatformPlan, Work
from soci.service.publish.publish_image import publish_image
from soci.service.settings.configuration import Configuration
from soci.upkeep.estimate.one_image import (
    DEFAULT_SIZES,
    PUT_IMAGE_PER_SECOND,
    Assumptions,
    Estimate,
    estimate,
    layer_seconds,
)
from tests.builders import Image, file, gzip_of, image_of, multi_platform, noise, tar_of
from tests.service_steps import index_all
from tests.unit.service.places import InMemory, by_hand, configuration

COST = Path(__file__).parents[4] / "docs" / "cost.md"
MEASURED = Assumptions()
GB = 1_000_000_000


def image(layers: int, platforms: int = 1) -> Image:
    made = [
        image_of(
            *(gzip_of(tar_of(file(f"f{n}", noise(3_000, f"{n}{platform}")))) for n in range(layers)),
            platform=platform,
        )
        for platform in ("linux/amd64", "linux/arm64")[:platforms]
    ]
    return made[0] if platforms == 1 else multi_platform(*made)


def item(size: int, compression: Compression = Compression.GZIP) -> LayerItem:
    digest = image(1).root.digest
    return LayerItem(digest=digest, size=size, compression=compression)


def decision(*layers: LayerItem, action: Action = Action.INDEX) -> Decision:
    return Decision(action=action, request=ImageRequest(repository="app", tag="1"), layers=layers)


def estimated(found: Decision, settings: Configuration | None = None) -> Estimate:
    return estimate(found, settings or Configuration(), DEFAULT_SIZES, MEASURED)


def states_of(action: Action, layers: int) -> int:
    """Count the states that an execution of the deployed machine goes through."""
    task = states.Task(function_arn="arn", timeout_seconds=1)
    tasks = states.Tasks(
        partition="aws",
        image_filter=task,
        index_layer=task,
        publish_index=task,
        image_lister=task,
        outcome_recorder=task,
    )
    machine: Any = states.index_image(tasks, layers_at_a_time=8, timeout_seconds=1)

    def walk(name: str | None) -> Iterator[str]:
        while name is not None:
            yield name
            state = machine["States"][name]
            if state["Type"] == "Map":
                yield from list(state["ItemProcessor"]["States"]) * layers
            chosen = [one["Next"] for one in state.get("Choices", ()) if one["StringEquals"] == action]
            name = chosen[0] if chosen else state.get("Next")

    return len(list(walk(machine["StartAt"])))


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("layers", [1, 5])
def test_transitions_are_the_states_of_the_deployed_workflow(action, layers):
    found = decision(*[item(1000)] * layers, action=action)

    assert estimated(found).transitions == states_of(action, layers if action is Action.INDEX else 0)


@pytest.mark.parametrize(("layers", "platforms"), [(1, 1), (4, 1), (3, 2), (8, 2)])
@pytest.mark.parametrize("version", ["v1", "v2", "both"])
def test_requests_are_those_that_a_registry_counts(memory: InMemory, layers, platforms, version):
    memory.put("app", image(layers, platforms), "1")
    settings = configuration(index={"version": version})
    memory.registry.forget_requests()
    found = decide(by_hand("app", "1"), settings, memory)
    publish_image(index_all(memory, settings, found), settings, memory)
    seen = [one for one in memory.registry.requests if one.origin == REGISTRY]

    made = estimated(found, settings)

    puts = sum(one.method == "PUT" and "/manifests/" in one.path for one in seen)
    assert made.put_image == puts
    assert made.registry_requests == pytest.approx(len(seen), rel=0.25)


@pytest.mark.parametrize(
    ("tagging", "puts"),
    [({"policy": "suffix"}, 4), ({"policy": "replace"}, 4), ({"policy": "digest-only"}, 3)],
)
def test_without_a_tag_one_manifest_less_is_pushed(memory: InMemory, tagging, puts):
    memory.put("app", image(1), "1")
    settings = configuration(tagging=tagging)

    assert estimated(decide(by_hand("app", "1"), settings, memory), settings).put_image == puts


def test_the_slower_of_network_and_processor_counts():
    fast_network = replace(MEASURED, network_mb_per_second=10_000)

    assert layer_seconds(item(GB), DEFAULT_SIZES, MEASURED) == pytest.approx(0.5 + 1000 / 75)
    assert layer_seconds(item(GB), DEFAULT_SIZES, fast_network) == pytest.approx(0.5 + 0.75 * 7.2)


def test_more_memory_helps_until_one_thread_is_the_limit():
    fast_network = replace(MEASURED, network_mb_per_second=10_000)
    seconds = [
        layer_seconds(item(GB), replace(DEFAULT_SIZES, index_layer=memory), fast_network)
        for memory in (885, 1_769, 3_538, 10_240)
    ]

    assert seconds == pytest.approx([0.5 + 7.2 * 1_769 / 885, 0.5 + 7.2, 0.5 + 5.4, 0.5 + 5.4])


def test_a_zstd_layer_costs_the_processor_and_the_storage_of_its_recompressed_layer():
    gzip, zstd = (
        estimated(decision(item(GB, compression))) for compression in (Compression.GZIP, Compression.ZSTD)
    )

    assert zstd.longest_layer_seconds > 5 * gzip.longest_layer_seconds
    assert zstd.storage_bytes - gzip.storage_bytes == pytest.approx(1.1 * GB)


def test_layers_with_a_cached_ztoc_are_not_read():
    half = replace(MEASURED, reused_share=0.5)

    assert layer_seconds(item(GB), DEFAULT_SIZES, half) == pytest.approx(0.5 + 500 / 75)


def test_a_skipped_image_costs_next_to_nothing():
    skipped = estimated(decision(action=Action.SKIP))

    assert (skipped.put_image, skipped.storage_bytes, skipped.layers) == (0, 0, 0)
    assert 0 < skipped.total_usd < 0.000_1


def test_dollars_are_those_of_the_recorded_outcome_except_table_and_logs():
    made = estimated(decision(item(GB), item(2 * GB)))
    layers = [layer_seconds(item(size), DEFAULT_SIZES, MEASURED) for size in (GB, 2 * GB)]
    work = Work(layers=2, layer_seconds=sum(layers), publish_seconds=1.2)

    recorded = sum(made.usd[service] for service in ("lambda", "step_functions", "eventbridge"))

    assert recorded == pytest.approx(estimate_usd(work, DEFAULT_SIZES))
    assert made.transitions == transitions(work)


def test_the_sizes_of_functions_are_the_defaults_of_the_deployment():
    usual = Deployment()

    assert (
        FunctionSizes(
            architecture=str(usual.lambda_architecture),
            image_filter=usual.image_filter.memory_mib,
            index_layer=usual.index_layer.memory_mib,
            publish_index=usual.publish_index.memory_mib,
            outcome_recorder=usual.outcome_recorder.memory_mib,
        )
        == DEFAULT_SIZES
    )


def example(*sizes_mb: int, platforms: int = 1, compression: Compression = Compression.GZIP) -> Decision:
    digest = image(1).root.digest
    layers = tuple(item(size * 1_000_000, compression) for size in sizes_mb)
    plans = tuple(PlatformPlan(platform=f"linux/{n}", digest=digest) for n in range(platforms))
    request = ImageRequest(repository="app", tag="1")
    return Decision(action=Action.INDEX, request=request, layers=layers, platforms=plans)


SIZES_MB = {
    "300 MB": [150, 100, 50],
    "1 GB": [400, 300, 150, 100, 50],
    "15 GB": [6_000, 3_000, 2_000, *[500] * 7, 300, 200],
}
EXAMPLES = {
    "300 MB in 3 layers": example(*SIZES_MB["300 MB"]),
    "1 GB in 5 layers": example(*SIZES_MB["1 GB"]),
    "1 GB in 5 layers, twice: amd64 and arm64": example(*SIZES_MB["1 GB"] * 2, platforms=2),
    "15 GB in 12 layers": example(*SIZES_MB["15 GB"]),
    "1 GB of zstd in 5 layers, recompressed": example(*SIZES_MB["1 GB"], compression=Compression.ZSTD),
}


def row_of(name: str, made: Estimate) -> str:
    return (
        f"| {name} | {made.seconds:.0f} | {made.invocations} | {made.gb_seconds:.0f} | {made.transitions} "
        f"| {made.put_image} | {made.registry_requests} | {made.total_usd:.4f} "
        f"| {made.storage_bytes / 1e6:.0f} MB | {made.storage_usd_per_month:.4f} |"
    )


def test_the_examples_of_the_manual_are_what_the_model_gives():
    rows = [row_of(name, estimated(found)) for name, found in EXAMPLES.items()]

    assert [row for row in rows if row not in COST.read_text()] == []


def test_the_manual_says_of_which_sizes_the_layers_of_its_examples_are():
    """The seconds are those of the largest layer."""
    lines = [f"- {image}: {', '.join(f'{size:,}' for size in sizes)}\n" for image, sizes in SIZES_MB.items()]

    assert [line for line in lines if line not in COST.read_text()] == []


def test_the_manual_has_every_price_of_the_table_with_its_source():
    rows = [
        f"| {price.per} | {price.usd:.10f}".rstrip("0").rstrip(".") + f" | <{price.source}> |"
        for price in prices.ALL
    ]

    assert [row for row in rows if row not in COST.read_text()] == []
    assert f"{prices.REGION}, as of {prices.AS_OF}" in COST.read_text()


def test_the_manual_has_every_assumption_with_its_number():
    text = COST.read_text()
    numbers = {name: f"{getattr(MEASURED, name):g}" for name in Assumptions.__dataclass_fields__}

    assert [name for name, number in numbers.items() if f"| `{name}` | {number} |" not in text] == []
    assert f"{PUT_IMAGE_PER_SECOND} per second" in text


def test_every_price_names_a_page_of_aws():
    assert all(price.source.startswith("https://aws.amazon.com/") for price in prices.ALL)
    assert len({price.per for price in prices.ALL}) == len(prices.ALL)
