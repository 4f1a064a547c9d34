"""A zTOC is built once: the bytes read from the registry are counted, and rows of the table are checked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest

from local.registry import Behaviour
from local.system.system import LocalSystem
from local.system.template import REGION
from local.system.workflows import Execution
from soci.build.reuse import ReuseKey
from soci.oci import media_types
from soci.oci.digest import Digest, digest_of
from soci.service.layer.catalog import facts_of
from soci.service.layer.entry import Entry
from soci.service.layer.row_mac import ALGORITHM
from tests.builders import BUILD_TOOL, Image, file, gzip_of, image_of, index_layer, noise, tar_of
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
    "multi_member_gzip": "index",
}
APP, OTHER = "team/app", "team/other"
FEW_BYTES = 600_000
"""Less than a third of a base layer: three spans to check its zTOC, one to read it back, and some headers."""


def layer(name: str, size_bytes: int = 2_000_000) -> bytes:
    """A layer of many spans; two of the same size have the same number of bytes."""
    return gzip_of(tar_of(file(f"srv/{size_bytes}", noise(size_bytes, name))), level=0)


class Reuse(Service):
    """A service, its table, and the bytes read from its registry."""

    def __init__(self, system: LocalSystem, directory: Any) -> None:
        super().__init__(system, directory)
        self.table = system.deployed.template.resources["ZtocTable"].name
        self.rows, self.kms = (
            boto3.client(
                name,
                region_name=REGION,
                endpoint_url=system.aws_api.url,
                aws_access_key_id="local",
                aws_secret_access_key="local",
            )
            for name in ("dynamodb", "kms")
        )

    def index(self, repository: str, tag: str, *layers: bytes, **options: Any) -> Execution:
        """Push an image of these layers, wait for its index, and check it."""
        image = image_of(*layers, **options)
        execution = self.index_somehow(repository, tag, image)
        assert execution.output["v2"]["digest"] == self.right(image)
        return execution

    def index_somehow(self, repository: str, tag: str, image: Image) -> Execution:
        """Push an image, and wait until it has an index."""
        self.system.registry.forget_requests()
        executions = self.push(image, repository, tag)
        assert outcomes(executions) == [("indexed", None), ("skipped", "own-artifact")]
        assert executions[0].output["v2"]["tag"] == f"{tag}-soci"
        return executions[0]

    def right(self, image: Image) -> str:
        """The digest that the SOCI-enabled image has to have."""
        return converted(self.layout(image), "--build-tool", BUILD_TOOL)

    def read_bytes(self, blob: bytes) -> int:
        """Bytes of a blob that were read since the last push began."""
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

    def mac_of(self, row: dict[str, Any]) -> dict[str, str]:
        """The MAC that the builder itself would write into a row."""
        key = ReuseKey(layer=Digest.parse(row["layer"]["S"]), settings=row["settings"]["S"])
        entry = Entry(ztoc=Digest.parse(row["ztoc"]["S"]), size=int(row["size"]["N"]), repositories=())
        (arn,) = self.system.keys.values()
        made = self.kms.generate_mac(KeyId=arn, Message=facts_of(key, entry), MacAlgorithm=ALGORITHM)
        return {"S": made["Mac"].hex()}

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


def test_ztocs_are_copied_where_the_registry_cannot_mount_them(tmp_path):
    behaviour = Behaviour(rates={}, mounts=False)
    with LocalSystem(settings=settings(index=INDEX), behaviour=behaviour) as system:
        service = Reuse(system, tmp_path)
        base = layer("copied base")
        service.index(APP, "1", base)

        execution = service.index(OTHER, "1", base)

        assert reuse_of(execution) == (0, len(base))
        assert service.read_bytes(base) < FEW_BYTES
        assert_sound(system, [APP, OTHER])


@pytest.mark.parametrize(
    ("api", "code"),
    [
        ("dynamodb", ""),
        ("dynamodb", "ProvisionedThroughputExceededException"),
        ("dynamodb", "AccessDeniedException"),
        ("kms", ""),
        ("kms", "ThrottlingException"),
        ("kms", "AccessDeniedException"),
    ],
)
def test_without_the_table_or_the_key_of_its_macs_the_result_is_the_same(tmp_path, api, code):
    with LocalSystem(settings=settings(index=INDEX), behaviour=NO_RATES, processes=1) as system:
        service = Reuse(system, tmp_path)
        base, app = layer("base"), layer("app", 300_000)
        system.aws_api.fail(api, code)

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


FILES = 40


def parts(name: str, *, changed: int | None = None) -> list[bytes]:
    """The content of files of a layer; one may be another, of the same size."""
    return [noise(50_000, f"{name} {number} {number == changed}") for number in range(FILES)]


def tar_with(contents: list[bytes]) -> bytes:
    return tar_of(*(file(f"srv/{number}", content) for number, content in enumerate(contents)))


def members_of(contents: list[bytes]) -> bytes:
    """A layer of several gzip members, as tools make them that compress side by side."""
    return gzip_of(tar_with(contents), level=0, members=8)


def programs(name: str) -> bytes:
    """A layer with two programs."""
    contents = [file(f"bin/{program}", noise(700_000, f"{name} {program}")) for program in ("sh", "rm")]
    return gzip_of(tar_of(*contents, file("srv/more", noise(700_000, name))), level=0)


def ztoc_of(data: bytes, *, span_size_bytes: int = SPAN_SIZE_BYTES) -> bytes:
    return bytes(index_layer(data, span_size_bytes=span_size_bytes).ztoc)


def renamed(base: bytes) -> bytes:
    """The zTOC of the layer itself, in which two files have each other's name."""
    ztoc, names = ztoc_of(base), (b"bin/sh", b"bin/rm")
    assert [ztoc.count(name) for name in names] == [1, 1]
    return ztoc.replace(names[0], b"?????\0").replace(names[1], names[0]).replace(b"?????\0", names[1])


@dataclass(frozen=True)
class Poison:
    """A layer, and the wrong zTOC that a row names for it."""

    layer: Callable[[str], bytes]
    ztoc: Callable[[bytes], bytes]
    options: dict[str, Any] | None = None
    """Of the image."""


PLAIN = {"layer_types": {0: media_types.OCI_LAYER}}
POISON = {
    "no-ztoc": Poison(layer, lambda _: b"no zTOC at all" * 100),
    "another-layers": Poison(layer, lambda _: ztoc_of(layer("sibling"))),
    "other-settings": Poison(layer, lambda base: ztoc_of(base, span_size_bytes=2 * SPAN_SIZE_BYTES)),
    "refused-by-readers": Poison(layer, refused),
    "plain-tar-but-for-a-span-that-is-not-read": Poison(
        lambda name: tar_with(parts(name)),
        lambda _: ztoc_of(tar_with(parts("plain-tar-but-for-a-span-that-is-not-read", changed=30))),
        PLAIN,
    ),
    "gzip-members-but-for-one-that-is-not-read": Poison(
        lambda name: members_of(parts(name)),
        lambda _: ztoc_of(members_of(parts("gzip-members-but-for-one-that-is-not-read", changed=30))),
    ),
    "two-files-with-each-others-names": Poison(programs, renamed),
}


@pytest.mark.parametrize("kind", POISON)
def test_a_row_that_names_a_wrong_ztoc_is_detected_and_repaired(service, kind):
    poison = POISON[kind]
    base, options = poison.layer(kind), poison.options or {}
    service.index(APP, f"clean-{kind}", base, **options)
    right = service.row_of(base)
    wrong = poison.ztoc(base)
    assert digest_of(wrong) != Digest.parse(right["ztoc"]["S"])
    service.repository(APP).put_blob(wrong)
    service.change_row(base, ztoc={"S": str(digest_of(wrong))}, size={"N": str(len(wrong))})

    execution = service.index(OTHER, kind, base, **options)

    assert_mended(service, execution, base, right)
    assert reuse_of(service.index(OTHER, f"again-{kind}", base, **options)) == (0, len(base))


@pytest.mark.parametrize("kind", ["no-row-of-ours", "no-mac", "mac-of-another-row", "row-of-another-layer"])
def test_a_row_that_no_builder_wrote_is_detected_and_repaired(service, kind):
    base, other = layer(kind), layer(f"beside {kind}")
    service.index(APP, f"clean-{kind}", base, other)
    right, beside = service.row_of(base), service.row_of(other)
    changes = {
        "no-row-of-ours": {"ztoc": {"S": "latest"}, "repositories": {"S": APP}},
        "no-mac": {"mac": {"S": ""}},
        "mac-of-another-row": {"mac": beside["mac"]},
        "row-of-another-layer": {name: beside[name] for name in ("ztoc", "size", "mac")},
    }
    service.change_row(base, **changes[kind])

    execution = service.index(OTHER, kind, base)

    assert_mended(service, execution, base, right)


def assert_mended(service: Reuse, execution: Execution, base: bytes, right: dict[str, Any]) -> None:
    assert reuse_of(execution) == (len(base), 0), "it was made again"
    assert len(service.warnings("poisoned", base)) == 1
    mended = service.row_of(base)
    assert [mended[name] for name in ("ztoc", "size", "mac")] == [
        right[name] for name in ("ztoc", "size", "mac")
    ]


def vouch_for(service: Reuse, base: bytes, wrong: bytes) -> None:
    """Make the row of a layer name a wrong zTOC, as if a builder had written it."""
    service.repository(APP).put_blob(wrong)
    service.change_row(base, ztoc={"S": str(digest_of(wrong))}, size={"N": str(len(wrong))})
    service.change_row(base, mac=service.mac_of(service.row_of(base)))


def test_a_forced_reindex_repairs_every_image_that_has_the_layer(service):
    base, repository = programs("forced reindex"), "team/forced"
    images = {tag: image_of(base, layer(f"forced {tag}", 100_000)) for tag in ("1", "2")}
    service.index(APP, "forced-reindex", base)
    vouch_for(service, base, renamed(base))
    for tag, image in images.items():
        made = service.index_somehow(repository, tag, image).output["v2"]["digest"]
        assert made != service.right(image), "as wrong as what vouches for it"

    request = {"repositories": [repository], "force": True}
    (reindex, *_) = service.since(lambda: service.system.start_reindex(request))

    assert reindex.output["outcomes"]["indexed"] == len(images)
    for tag, image in images.items():
        assert service.tags(repository)[f"{tag}-soci"] == service.right(image)


def test_force_repairs_a_wrong_row_that_a_builder_wrote(service):
    base = programs("forced")
    image = image_of(base)
    service.index(APP, "forced-clean", base)
    right = service.row_of(base)
    vouch_for(service, base, renamed(base))
    published = service.index_somehow(OTHER, "forced", image)
    assert published.output["v2"]["digest"] != service.right(image), "as wrong as what vouches for it"

    execution = service.run(repository=OTHER, tag="forced", force=True)

    assert execution.output["v2"]["digest"] == service.right(image)
    assert reuse_of(execution) == (len(base), 0)
    assert service.tags(OTHER)["forced-soci"] == service.right(image)
    assert service.row_of(base)["mac"] == right["mac"]
    assert reuse_of(service.index(APP, "forced-after", base)) == (0, len(base))


def test_deleted_ztocs_are_built_again(service):
    base = layer("deleted")
    service.index("team/short-lived", "1", base)
    gone = service.repository("team/short-lived")
    for content in (gone.blobs, gone.manifests, gone.tags):
        content.clear()

    execution = service.index(OTHER, "made-again", base)

    assert reuse_of(execution) == (len(base), 0)
    assert service.warnings("poisoned", base) == []
