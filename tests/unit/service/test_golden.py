"""What the functions publish, layer by layer and through messages, is what the command line makes in one run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from soci.build.recipe import convert, create_index
from soci.image.documents import Platforms
from soci.places.layout.oci_layout import OciLayout
from soci.service.outcomes import Outcome
from soci.settings import ZstdLayers
from tests.builders import BUILD_TOOL
from tests.golden_images import CASES, GOLDEN_IMAGES, case_id
from tests.recipes import blobs_of, run
from tests.service_steps import Layouts, configured, run_service


@pytest.fixture
def copies(tmp_path):
    """Two copies of a golden layout: one for the functions, one for the command line."""

    def copy(name: str) -> tuple[Path, Path]:
        for place in ("service", "cli"):
            shutil.copytree(GOLDEN_IMAGES / name, tmp_path / place / "app", copy_function=shutil.copyfile)
        return tmp_path / "service", tmp_path / "cli" / "app"

    return copy


def by_cli(layout: Path, version: str, *, platform: str = "all", tag: str | None, **settings: Any):
    store = OciLayout(layout, tag="latest")
    return run(
        create_index if version == "v1" else convert,
        store,
        store,
        platforms=Platforms.ALL if platform == "all" else [platform],
        tag=tag,
        **settings,
    )


@pytest.mark.parametrize(("name", "case"), CASES, ids=case_id)
def test_the_digests_and_blobs_are_those_of_the_command_line(copies, name, case):
    for_service, for_cli = copies(name)
    configuration = configured(
        version=case["version"],
        span_size_bytes=4 << 20,
        min_layer_size_bytes=case["min_layer_size"],
        optimizations=case["optimizations"],
        prefetch_files=case["prefetch"],
        tagging={"when_nothing_to_index": False},
    )

    published = run_service(
        Layouts(for_service),
        configuration,
        platforms=None if case["platform"] == "all" else [case["platform"]],
    )

    result = by_cli(
        for_cli,
        case["version"],
        platform=case["platform"],
        tag=None if case["version"] == "v1" else "latest-soci",
        span_size_bytes=4 << 20,
        min_layer_size_bytes=case["min_layer_size"],
        build_tool_identifier=BUILD_TOOL,
        optimizations=frozenset(case["optimizations"]),
        prefetch_patterns=tuple(case["prefetch"]),
        marks_patterns=True,
    )
    assert blobs_of(for_service / "app") == blobs_of(for_cli)
    assert (for_service / "app/index.json").read_bytes() == (for_cli / "index.json").read_bytes()
    if result.root is None:
        assert published.outcome is Outcome.NOTHING_TO_INDEX
    elif case["version"] == "v1":
        made = [one.index for one in result.platforms]
        assert published.v1 == tuple(index.descriptor.digest for index in made if index)
    else:
        assert published.v2 is not None
        assert published.v2.digest == result.root.digest
    has_owners_bytes = name != "oci-index-with-attestation" and not case["prefetch"]
    if has_owners_bytes and "error" not in case:
        assert result.root is not None
        assert str(result.root.digest) == case["descriptor"]["digest"]


@pytest.mark.parametrize("policy", ZstdLayers)
@pytest.mark.parametrize("level", [1, 9])
def test_zstd_layers_give_the_same_image_under_both_policies(copies, policy, level):
    for_service, for_cli = copies("oci-zstd-and-foreign-layers")

    published = run_service(Layouts(for_service), configured(zstd_layers=policy, gzip_level=level))

    result = by_cli(for_cli, "v2", tag="latest-soci", zstd_layers=policy, gzip_level=level)
    assert result.root is not None
    assert published.v2 is not None
    assert published.v2.digest == result.root.digest
    assert blobs_of(for_service / "app") == blobs_of(for_cli)


@pytest.mark.parametrize("name", ["oci-index-with-attestation", "oci-zstd-and-foreign-layers"])
@pytest.mark.parametrize("policy", ZstdLayers)
def test_both_versions_at_once_are_what_each_alone_gives(copies, name, policy):
    for_service, for_cli = copies(name)

    published = run_service(Layouts(for_service), configured(version="both", zstd_layers=policy))

    v2 = by_cli(for_cli, "v2", tag="latest-soci", zstd_layers=policy)
    v1 = by_cli(for_cli, "v1", tag=None)
    assert v2.root is not None
    assert published.v2 is not None
    assert published.v2.digest == v2.root.digest
    assert published.v1 == tuple(one.index.descriptor.digest for one in v1.platforms if one.index)
    assert blobs_of(for_service / "app") == blobs_of(for_cli)
