"""A zTOC is made once: bytes that leave the registry are counted, and what the table says is not believed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from local.registry import Behaviour
from local.system.system import LocalSystem
from local.system.template import REGION
from local.system.workflows import Execution
from soci.oci.digest import digest_of
from tests.builders import BUILD_TOOL, file, gzip_of, image_of, index_layer, noise, tar_of
from tests.e2e.service import (
    NO_RATES,
    SPAN_SIZE_BYTES,
    Service,
    assert_sound,
    converted,
    outcomes,
    settings,
)

INDEX = {
    "min_layer_size_bytes": 20_000,
    "span_size_bytes": SPAN_SIZE_BYTES,
    "build_tool_identifier": BUILD_TOOL,
}
APP, OTHER = "team/app", "team/other"
FEW_BYTES = 600_000
"""Less than a third of a base layer: three spans to check its zTOC, one to read it back, and some headers."""


def layer(name: str, size_bytes: int = 2_000_000) -> bytes:
    """A layer of many spans; two of the same size have the same number of bytes."""
    return gzip_of(tar_of(file(f"srv/{size_bytes}", noise(size_bytes, name))), level=0)


class Reuse(Service):
    """A service, its table, and what left its registry."""

    def __init__(self, system: LocalSystem, directory: Any) -> None:
        super().__init__(system, directory)
        self.table = system.deployed.template.resources["ZtocTable"].name
        self.rows = boto3.client(
            "dynamodb",
            region_name=REGION,
            endpoint_url=system.aws_api.url,
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )

    def index(self, repository: str, tag: str, *layers: bytes) -> Execution:
        """Push an image of these layers, and wait until it has its index."""
        image = image_of(*layers)
        self.system.registry.forget_requests()
        executions = self.push(image, repository, tag)
        assert outcomes(executions) == [("indexed", None), ("skipped", "own-artifact")]
        made = executions[0].output["v2"]
        assert made["tag"] == f"{tag}-soci"
        assert made["digest"] == converted(self.layout(image), "--build-tool", BUILD_TOOL)
        return executions[0]

    def read_bytes(self, blob: bytes) -> int:
        """How much of a blob left the registry since the last push began."""
        digest = digest_of(blob)
        return sum(
            seen.sent_bytes
            for seen in self.system.registry.requests
            if seen.method == "GET" and digest.hex in seen.path and seen.status in (200, 206)
        )

    def row_of(self, blob: bytes) -> dict[str, Any]:
        (row,) = [
            row
            for row in self.rows.scan(TableName=self.table)["Items"]
            if row["layer"]["S"] == str(digest_of(blob))
        ]
        return dict(row)

    def change_row(self, blob: bytes, **values: Any) -> None:
        self.rows.put_item(TableName=self.table, Item=self.row_of(blob) | values)

    def warnings(self, word: str, blob: bytes | None = None) -> list[str]:
        """Lines of the functions' logs that warn of something."""
        lines = [json.loads(line) for line in self.system.logs() if line.startswith("{")]
        told = [line["message"] for line in lines if line.get("level") == "WARNING"]
        return [text for text in told if word in text and (blob is None or digest_of(blob).hex in text)]


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[Reuse]:
    with LocalSystem(settings=settings(index=INDEX), behaviour=NO_RATES) as system:
        yield Reuse(system, tmp_path_factory.mktemp("reuse"))
        assert_sound(system, [APP, OTHER])


def reuse_of(execution: Execution) -> tuple[int, int]:
    return execution.output["streamed_bytes"], execution.output["reused_bytes"]


def test_a_new_version_streams_only_the_layers_that_changed(service):
    base, libraries = layer("base"), layer("libraries", 1_900_000)
    first, second = layer("app 1", 300_000), layer("app 2", 300_000)
    before = service.index(APP, "1", base, libraries, first)

    after = service.index(APP, "2", base, libraries, second)

    assert reuse_of(before) == (len(base) + len(libraries) + len(first), 0)
    assert reuse_of(after) == (len(second), len(base) + len(libraries))
    assert service.read_bytes(second) >= len(second)
    for shared in (base, libraries):
        assert 0 < service.read_bytes(shared) < FEW_BYTES


def test_another_repository_mounts_the_ztocs_and_streams_no_layer(service):
    base, app = layer("mounted base"), layer("mounted app", 1_900_000)
    service.index(APP, "mounted", base, app)

    execution = service.index(OTHER, "mounted", base, app)

    assert reuse_of(execution) == (0, len(base) + len(app))
    assert service.read_bytes(base) < FEW_BYTES
    assert service.read_bytes(app) < FEW_BYTES
    mounted = [
        seen for seen in service.system.registry.requests if seen.method == "POST" and seen.status == 201
    ]
    assert len(mounted) >= 2
    assert service.row_of(base)["repositories"]["L"] == [{"S": OTHER}, {"S": APP}]


def test_where_nothing_can_be_mounted_the_ztocs_are_copied(tmp_path):
    behaviour = Behaviour(rates={}, mounts=False)
    with LocalSystem(settings=settings(index=INDEX), behaviour=behaviour) as system:
        service = Reuse(system, tmp_path)
        base = layer("copied base")
        service.index(APP, "1", base)

        execution = service.index(OTHER, "1", base)

        assert reuse_of(execution) == (0, len(base))
        assert service.read_bytes(base) < FEW_BYTES
        assert_sound(system, [APP, OTHER])


@pytest.mark.parametrize("code", ["", "ProvisionedThroughputExceededException", "AccessDeniedException"])
def test_without_the_table_the_result_is_the_same(tmp_path, code):
    with LocalSystem(settings=settings(index=INDEX), behaviour=NO_RATES, processes=1) as system:
        service = Reuse(system, tmp_path)
        base, app = layer("base"), layer("app", 300_000)
        system.aws_api.fail("dynamodb", code)

        executions = [service.index(APP, tag, base, app) for tag in ("1", "2")]

        assert [reuse_of(one) for one in executions] == [(len(base) + len(app), 0)] * 2
        assert len(service.warnings("does not answer")) == 1, "one line, and then the table is left alone"
        assert_sound(system, [APP])


def refused(base: bytes) -> bytes:
    """A zTOC whose only file lies within its own header."""
    ztoc = bytearray(index_layer(base, span_size_bytes=SPAN_SIZE_BYTES).ztoc)
    at = ztoc.find((512).to_bytes(8, "little"))
    ztoc[at : at + 8] = (256).to_bytes(8, "little")
    return bytes(ztoc)


POISON = {
    "no zTOC": lambda base: b"no zTOC at all" * 100,  # noqa: ARG005
    "another layer's": lambda base: index_layer(layer("sibling"), span_size_bytes=SPAN_SIZE_BYTES).ztoc,  # noqa: ARG005
    "other settings": lambda base: index_layer(base, span_size_bytes=2 * SPAN_SIZE_BYTES).ztoc,
    "refused by readers": refused,
}


@pytest.mark.parametrize("kind", [*POISON, "no row of ours"])
def test_a_poisoned_row_is_detected_and_mended(service, kind):
    base = layer(f"poisoned {kind}")
    service.index(APP, "clean", base)
    right = service.row_of(base)
    if kind in POISON:
        wrong = bytes(POISON[kind](base))
        service.repository(APP).put_blob(wrong)
        service.change_row(base, ztoc={"S": str(digest_of(wrong))}, size={"N": str(len(wrong))})
    else:
        service.change_row(base, ztoc={"S": "latest"}, repositories={"S": APP})

    execution = service.index(OTHER, f"after-{kind.replace(' ', '-').replace(chr(39), '')}", base)

    assert reuse_of(execution) == (len(base), 0), "it was made anew"
    assert len(service.warnings("poisoned", base)) == 1
    mended = service.row_of(base)
    assert (mended["ztoc"], mended["size"]) == (right["ztoc"], right["size"])
    assert reuse_of(service.index(OTHER, "again", base)) == (0, len(base))


def test_ztocs_that_are_deleted_are_made_again(service):
    base = layer("deleted")
    service.index("team/short-lived", "1", base)
    gone = service.repository("team/short-lived")
    for content in (gone.blobs, gone.manifests, gone.tags):
        content.clear()

    execution = service.index(OTHER, "made-again", base)

    assert reuse_of(execution) == (len(base), 0)
    assert service.warnings("poisoned", base) == []
