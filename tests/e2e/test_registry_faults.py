"""Each request of a run fails, in every way, once or from there on.

A run succeeds or ends with a clear error. The tag exists with everything it refers to, or not at all. The next
run gives the same image. A table of the runs is printed at the end.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import zstandard

from local.registry import (
    OBJECTS,
    Answer,
    BearerLogin,
    Behaviour,
    Exchange,
    Fault,
    Harm,
    Lie,
    Registry,
    TimePasses,
)
from local.registry.store import Repository, digest_of
from soci.build import recipe as build
from soci.errors import RegistryError, SociError
from soci.image.documents import Platforms, choose_images, fetch_image
from soci.oci import media_types
from soci.oci.digest import Digest
from soci.oci.reference import RegistryRef
from soci.places.layout.oci_layout import OciLayout
from soci.places.registry.blob_reader import StreamSettings
from soci.places.registry.blob_upload import Uploads
from soci.places.registry.client import RegistryClient
from soci.places.registry.connect import base_url
from soci.places.registry.credentials import Login
from soci.places.registry.repository import RegistryRepository
from soci.places.registry.retry import Clock, RetryPolicy
from soci.places.registry.token_scopes import Scopes
from soci.places.registry.transport import Timeouts, Transport
from soci.settings import IndexSettings, ZstdLayers
from soci.upkeep.remove import TaggedSource, Target, fetch_removal, remove_index
from tests.builders import Image, file, gzip_of, image_of, layout_of, noise, tar_of
from tests.e2e.fault_table import Head, fault_table
from tests.recipes import Watcher
from tests.registries import open_repository

KIB = 1 << 10
LOGIN = BearerLogin("someone", "not-to-be-seen")
SETTINGS = IndexSettings(span_size_bytes=64 * KIB, min_layer_size_bytes=0)
RECOMPRESS = replace(SETTINGS, zstd_layers=ZstdLayers.RECOMPRESS)
STREAMING = StreamSettings(parallel_ranges=3, range_size_bytes=16 * KIB)
RETRIES = RetryPolicy(attempts=4, clock=Clock(sleep=lambda _: None, random=lambda: 0.0))
TIMEOUTS = Timeouts(connect_seconds=2, read_seconds=0.25)
PART_BYTES = 16 * KIB
SOURCE_TAG, TAG = "1.0", "1.0-soci"
SMALL_LAYERS = [tar_of(file("data", noise(size, str(size)))) for size in (9_000, 5_000)]
SMALL_IMAGE = image_of(gzip_of(SMALL_LAYERS[0]))
ZSTD_IMAGE = image_of(zstandard.compress(SMALL_LAYERS[0]), gzip_of(SMALL_LAYERS[1]))
LAYERS = [gzip_of(tar_of(file("data", noise(size, str(size))))) for size in (60_000, 30_000, 500)]
IMAGE = image_of(*LAYERS)
BLOB = noise(3 * PART_BYTES + 1, "blob")

ONCE: dict[str, Fault] = {
    "reset before": Harm.RESET_BEFORE,
    "reset in the request": Harm.RESET_IN_REQUEST,
    "reset, answer lost": Harm.RESET_AFTER,
    "reset in the body": Harm.RESET_IN_BODY,
    "cut body": Harm.CUT_BODY,
    "wrong byte": Harm.WRONG_BYTE,
    "wrong byte in the request": Harm.WRONG_BYTE_SENT,
    "hang": Harm.HANG,
    "hang in the body": Harm.HANG_IN_BODY,
    "401": Answer(401),
    "429": Answer(429, retry_after_seconds=1),
    "503": Answer(503),
    "logins and URLs expire": TimePasses(10_000),
    "Content-Length lies": Lie({"Content-Length": "1"}),
    "digest lies": Lie({"Docker-Content-Digest": digest_of(b"another")}),
    "media type lies": Lie({"Content-Type": media_types.DOCKER_MANIFEST}),
}
OVERCOME = {
    "reset before",
    "reset in the body",
    "hang",
    "hang in the body",
    "429",
    "503",
    "logins and URLs expire",
}
"""Everyday faults of networks and registries: they fail no run, at whichever request they happen."""

FROM_THEN_ON: dict[str, Fault] = {
    "reset from then on": Harm.RESET_BEFORE,
    "wrong bytes from then on": Harm.WRONG_BYTE,
    "401 from then on": Answer(401),
    "503 from then on": Answer(503),
}
FAULTS = {**ONCE, **FROM_THEN_ON}
SOME_FAULTS = (
    "reset before",
    "reset, answer lost",
    "wrong byte in the request",
    "401",
    "503",
    "reset from then on",
)
"""For recipes that send the requests of a conversion in another order.

A removal also reads lists of tags and referrers, which have no digest: nobody can detect a wrong byte there.
"""

ONLY_IN_TEST_ALL = {"hang in the body", "reset before", "wrong bytes from then on", "503 from then on"}
"""Each has a sibling that the gate tries: at another moment, once, or for longer."""

ONLY_IN_TEST_ALL_ELSEWHERE = {*ONLY_IN_TEST_ALL, "401", "503"}


def each_fault(faults: Iterable[str], *, only_in_test_all: Collection[str]) -> pytest.MarkDecorator:
    exhaustive = dict.fromkeys(only_in_test_all, pytest.mark.exhaustive)
    return pytest.mark.parametrize(
        "fault", [pytest.param(one, marks=exhaustive.get(one, ())) for one in faults]
    )


every_fault = each_fault(FAULTS, only_in_test_all=ONLY_IN_TEST_ALL)
some_faults = each_fault(SOME_FAULTS, only_in_test_all=ONLY_IN_TEST_ALL_ELSEWHERE)


class OneLogin:
    """The login that the registry wants."""

    def fetch_login(self, host, *, renew):  # noqa: ARG002 - the shape of the port
        return Login(username=LOGIN.user, password=LOGIN.password)


@dataclass
class Row:
    """The outcomes of the runs with one fault, with an error for each refused or wrong one."""

    name: str
    recovered: int = 0
    refused: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def counts(self) -> tuple[int, ...]:
        outcomes = (self.recovered, len(self.refused), len(self.wrong))
        return (sum(outcomes), *outcomes)

    @property
    def words(self) -> str:
        return ", ".join(sorted({error.partition(":")[0] for error in self.refused}))


HEAD = Head(
    name="fault of one request",
    counts=("runs", "recovered", "refused", "wrong"),
    words="errors",
    name_width=44,
    count_width=11,
)


@pytest.fixture(scope="module")
def table(printed) -> Iterator[list[Row]]:
    """The rows of the module's tests, printed at the end."""
    with fault_table(HEAD, printed) as rows:
        yield rows


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """All log lines, of every level."""
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler, root = Lines(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield lines
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def registry() -> Iterator[Registry]:
    """A registry like ECR, but with smaller parts and without its rates."""
    behaviour = Behaviour(min_part_bytes=PART_BYTES, max_part_bytes=PART_BYTES, rates={})
    with Registry(behaviour, login=LOGIN) as running:
        yield running


def run_recipe(recipe: Callable[[build.Run], build.BuildResult], place, settings: IndexSettings) -> str:
    """Index the image in place; returns the digest."""
    image = fetch_image(place)
    chosen = choose_images(image, Platforms.ALL)
    result = recipe(
        build.Run(
            source=place,
            sink=place,
            image=image,
            chosen=chosen,
            settings=settings,
            tag=TAG if recipe is build.convert else None,
            jobs=2,
            progress=Watcher(),
        )
    )
    assert result.root is not None
    return str(result.root.digest)


def digest_in_layout(
    recipe: Callable[[build.Run], build.BuildResult],
    image: Image,
    directory: Path,
    settings: IndexSettings = SETTINGS,
) -> str:
    """The digest that a recipe gives in an OCI layout."""
    return run_recipe(
        recipe, OciLayout(layout_of(directory, image, tag=SOURCE_TAG), tag=SOURCE_TAG), settings
    )


def repository_in(registry: Registry, tag: str = SOURCE_TAG) -> RegistryRepository:
    """Open the registry's repository with a new client."""
    reference = RegistryRef(host=registry.host, repository="app", tag=tag)
    return open_repository(
        reference, streaming=STREAMING, retries=RETRIES, timeouts=TIMEOUTS, logins=OneLogin()
    )


def convert_in(registry: Registry) -> str:
    return run_recipe(build.convert, repository_in(registry), SETTINGS)


def recompress_in(registry: Registry) -> str:
    return run_recipe(build.convert, repository_in(registry), RECOMPRESS)


def create_in(registry: Registry) -> str:
    return run_recipe(build.create_index, repository_in(registry), SETTINGS)


def remove_in(registry: Registry) -> None:
    """Remove both indexes; anything left over is an error."""
    store = repository_in(registry)
    converted = TaggedSource(source=repository_in(registry, TAG), tag=TAG)
    target = Target(store=store, image=fetch_image(store), tag=SOURCE_TAG, converted=converted)
    removal = fetch_removal(target)
    if not removal.is_empty and not (result := remove_index(target, removal)).is_done:
        raise RegistryError(f"{result.left_alone} {[one.error for one in result.refused]}")


def upload_to(registry: Registry) -> None:
    """Upload a blob in parts."""
    client = RegistryClient(
        base_url(registry.host),
        registry.host,
        transport=Transport(TIMEOUTS),
        logins=OneLogin(),
        retries=RETRIES,
    )
    uploads = Uploads(client, f"{client.base_url}/v2/app/blobs", Scopes(repository="app").push)
    uploads.push(Digest.parse(digest_of(BLOB)), [BLOB], part_bytes=PART_BYTES)


def repository_of(image: Image) -> Repository:
    """A repository that holds one image."""
    repository = Repository()
    for digest, blob in image.blobs.items():
        if digest != image.root.digest:
            repository.put_blob(blob)
    repository.put_manifest(image.document, tag=SOURCE_TAG)
    return repository


def restock(registry: Registry, content: Repository) -> None:
    """Reset the registry: the given content, no request, no fault."""
    app = registry.repository("app")
    for kind in ("blobs", "manifests", "tags", "uploads"):
        getattr(app, kind).clear()
        getattr(app, kind).update(getattr(content, kind))
    registry.heal()
    registry.forget_requests()


def missing_of(app: Repository, digest: str) -> list[str]:
    """Digests that a manifest refers to, directly or not, and that are missing."""
    if (manifest := app.manifests.get(digest)) is None:
        return [digest]
    if manifest.children:
        return [missing for child in manifest.children for missing in missing_of(app, child)]
    blobs = [entry["digest"] for entry in (manifest.document["config"], *manifest.document["layers"])]
    return [blob for blob in blobs if blob not in app.blobs]


@dataclass(frozen=True)
class Trial:
    """An action in the registry's repository, and the checks for "done" and "not done at all"."""

    start: Repository
    run: Callable[[Registry], object]
    is_done: Callable[[Repository], bool]
    is_undone: Callable[[Repository], bool]


def conversion(expected: str, image: Image, run: Callable[[Registry], object]) -> Trial:
    """The image is converted under the new tag, and the source tag stays."""
    source = {SOURCE_TAG: str(image.root.digest)}

    def is_done(app: Repository) -> bool:
        return app.tags == {**source, TAG: expected} and missing_of(app, expected) == []

    return Trial(
        start=repository_of(image), run=run, is_done=is_done, is_undone=lambda app: app.tags == source
    )


def creation(expected: str) -> Trial:
    """The image has its index of version 1 with everything that this lists."""
    root = str(SMALL_IMAGE.root.digest)

    def found(app: Repository) -> list[str]:
        return [one.digest for one in app.referrers(root)]

    return Trial(
        start=repository_of(SMALL_IMAGE),
        run=create_in,
        is_done=lambda app: found(app) == [expected] and missing_of(app, expected) == [],
        is_undone=lambda app: found(app) == [],
    )


def removal(registry: Registry) -> Trial:
    """Both indexes are removed, or partly: the converted image is complete or untagged, and the image is complete."""
    bare = repository_of(SMALL_IMAGE)
    restock(registry, bare)
    convert_in(registry)
    create_in(registry)
    app = registry.repository("app")
    start = Repository(blobs=dict(app.blobs), manifests=dict(app.manifests), tags=dict(app.tags))

    def is_done(app: Repository) -> bool:
        left = app.manifests.keys() & start.manifests.keys()
        return left == bare.manifests.keys() and app.tags == bare.tags

    def is_undone(app: Repository) -> bool:
        tagged = [app.tags[tag] for tag in (SOURCE_TAG, TAG) if tag in app.tags]
        return SOURCE_TAG in app.tags and not any(missing_of(app, digest) for digest in tagged)

    return Trial(start=start, run=remove_in, is_done=is_done, is_undone=is_undone)


UPLOAD = Trial(
    start=repository_of(IMAGE),
    run=upload_to,
    is_done=lambda app: app.blobs.get(digest_of(BLOB)) == BLOB,
    is_undone=lambda app: digest_of(BLOB) not in app.blobs,
)


def fail_each(registry: Registry, trial: Trial, fault: str, row: Row) -> None:
    """Inject the fault at each request of a run in turn."""
    restock(registry, trial.start)
    trial.run(registry)
    assert trial.is_done(registry.repository("app"))
    for number in range(1, len(registry.requests) + 1):
        restock(registry, trial.start)
        if fault in ONCE:
            registry.fail(ONCE[fault], number=number)
        else:
            registry.fail(FROM_THEN_ON[fault], where=from_number(number), times=None)
        try:
            refusal = run_and_check(registry, trial, fault)
        except Exception as error:  # noqa: BLE001 - whatever is no SociError is what we look for
            failed = registry.requests[number - 1]
            row.wrong.append(f"request {number}, {failed.method} {failed.path}: {error!r}")
        else:
            row.refused += refusal
            row.recovered += not refusal


def from_number(number: int) -> Callable[[Exchange], bool]:
    return lambda exchange: exchange.number >= number


def run_and_check(registry: Registry, trial: Trial, fault: str) -> list[str]:
    """Run, and if that was refused, run again without the fault; returns the error, if there was one."""
    app = registry.repository("app")
    refusal = []
    try:
        trial.run(registry)
    except SociError as error:
        refusal = [f"{type(error).__name__}: {error}"]
        # Put by tag, bytes are taken for what they are: only the answer tells that they are others.
        assert trial.is_undone(app) or trial.is_done(app) or fault == "wrong byte in the request"
        registry.heal()
        trial.run(registry)
    assert trial.is_done(app)
    assert not any(seen.has_authorization for seen in registry.requests if seen.origin == OBJECTS)
    return refusal


def secrets_in(texts: Iterable[str]) -> list[str]:
    pair = base64.b64encode(f"{LOGIN.user}:{LOGIN.password}".encode()).decode()
    together = "\n".join(texts)
    secrets = (LOGIN.password, pair, "X-Amz-Signature", *LOGIN.tokens())
    return [secret for secret in secrets if secret in together]


def check(registry: Registry, trial: Trial, row: Row, logged: list[str], fault: str) -> None:
    fail_each(registry, trial, fault, row)

    assert row.wrong == []
    assert row.refused == [] or fault not in OVERCOME
    assert secrets_in([*logged, *row.refused]) == []
    assert all(len(error.splitlines()) == 1 for error in row.refused)


def row_in(table: list[Row], name: str) -> Row:
    table.append(Row(name))
    return table[-1]


@every_fault
def test_a_conversion_succeeds_or_leaves_nothing_whichever_request_fails(
    registry, table, logged, tmp_path, fault
):
    expected = digest_in_layout(build.convert, IMAGE, tmp_path)
    trial = conversion(expected, IMAGE, convert_in)

    check(registry, trial, row_in(table, f"convert: {fault}"), logged, fault)


@some_faults
def test_a_recompression_succeeds_or_leaves_nothing_whichever_request_fails(
    registry, table, logged, tmp_path, fault
):
    expected = digest_in_layout(build.convert, ZSTD_IMAGE, tmp_path, RECOMPRESS)
    trial = conversion(expected, ZSTD_IMAGE, recompress_in)

    check(registry, trial, row_in(table, f"convert --zstd: {fault}"), logged, fault)


@some_faults
def test_an_index_of_version_1_is_complete_or_absent_whichever_request_fails(
    registry, table, logged, tmp_path, fault
):
    trial = creation(digest_in_layout(build.create_index, SMALL_IMAGE, tmp_path))

    check(registry, trial, row_in(table, f"create: {fault}"), logged, fault)


@some_faults
def test_a_second_removal_finishes_the_first_whichever_request_failed(registry, table, logged, fault):
    check(registry, removal(registry), row_in(table, f"remove: {fault}"), logged, fault)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_blob_in_parts_is_complete_or_absent_whichever_request_fails(registry, table, logged, fault):
    row = row_in(table, f"upload: {fault}")

    fail_each(registry, UPLOAD, fault, row)

    assert row.wrong == []
    assert secrets_in([*logged, *row.refused]) == []
