"""After any fault and the manual's remedy every image has its correct result, once.

The remedies are the commands of docs/operations.md themselves, run in a shell whose AWS is the system under test.
What a repository then holds is compared with what the core makes of the same images on a disk, where nothing fails,
and all of it is verified. A table of the faults is printed at the end.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local.registry import Harm
from local.system.record import Status
from local.system.system import LocalSystem
from local.system.template import REGION
from tests.docs.terminal import Terminal, terminal
from tests.e2e.fault_table import Head, fault_table
from tests.e2e.faults import (
    ANYTHING,
    DECIDING,
    KILLED,
    LISTING,
    MOVING_THE_TAG,
    OUT_OF_TIME,
    PUBLISHING,
    PUSHING_ZTOC,
    READING,
    SENDING_A_ZTOC,
    UNAVAILABLE,
    Inject,
    aws,
    ends,
    events_lost,
    layer_hangs,
    recorder_ends,
    registry,
    reuse_fails,
    throttled,
    together,
    undeliverable,
)
from tests.e2e.remedies import ANEW, NEXT_SEARCH, REDRIVE, REDRIVE_SEARCH, REPLAY, SEARCH, Aws
from tests.e2e.scene import Scene, made_of
from tests.e2e.service import NO_RATES, an_image, put, settings

Stage = tuple[LocalSystem, Terminal]
IMAGES = {"two": (70_000, 40_000), "one": (110_000,), "small": (25_000,)}
"""Sizes of layers by tag. The last image is too small for the rules: it gets the promised tag without an index."""
FEW = ("two", "small")


# --- the table ----------------------------------------------------------------------------------------------


@dataclass
class Row:
    """A fault, and the outcomes of the images that it hit."""

    fault: str
    images: int = 0
    at_once: int = 0
    after_remedy: int = 0
    wrong: int = 0
    seen: str = ""
    remedy: str = "none needed"

    @property
    def name(self) -> str:
        return self.fault

    @property
    def counts(self) -> tuple[int, ...]:
        return (self.images, self.at_once, self.after_remedy, self.wrong)

    @property
    def words(self) -> str:
        return f"{self.remedy:32}  {self.seen}"


HEAD = Head(
    name="fault",
    counts=("images", "right at once", "after remedy", "wrong"),
    words=f"{'remedy':32}  what was seen at once",
    name_width=66,
    count_width=14,
)


@pytest.fixture(scope="module")
def table(printed) -> Iterator[list[Row]]:
    """The rows of the module's tests, printed at the end."""
    with fault_table(HEAD, printed) as rows:
        yield rows


def seen_in(scene: Scene) -> str:
    """What an operator sees: failed executions, waiting events, and retried states."""
    failed = Counter(
        f"{one.state_machine} failed: {one.run.error}"
        for one in scene.executions()
        if one.status is not Status.SUCCEEDED
    )
    seen = [f"{count} {what}" for what, count in sorted(failed.items())]
    if scene.system.dead_letters:
        seen.append(f"{len(scene.system.dead_letters)} in the dead-letter queue")
    if not scene.executions():
        seen.append("no execution")
    tried = any(v.calls > 1 for e in scene.executions() for _, v in e.run.walk() if not v.items)
    return ", ".join(seen) or ("tried again" if tried else "went on")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A fault, its injection, and the remedies in order. Without remedies everything must be right at once."""

    fault: str
    inject: Inject
    remedies: tuple[str, ...] = ()
    begins: str = "announce"
    images: tuple[str, ...] = tuple(IMAGES)
    is_superseded: bool = False
    """The remedy starts a new execution, and the failed one stays failed."""


def run_case(case: Case, scene: Scene, row: Row) -> None:
    """Inject the fault, check, run the remedies, and check again."""
    system = scene.system
    happened = case.inject(system)
    getattr(scene, case.begins)()

    assert happened(), "the fault was not felt"
    at_once = scene.done()
    row.images, row.at_once, row.seen = len(scene.wanted), len(at_once), seen_in(scene)
    system.heal()
    wrong = scene.wrong()
    for remedy in case.remedies:
        scene.apply(remedy)
        row.remedy = ", then ".join(case.remedies)
    after = scene.done()
    row.after_remedy = len(after - at_once)
    wrong += scene.wrong()
    row.wrong = len(wrong)

    assert wrong == []
    assert after == scene.wanted.keys(), "an image has no result"
    assert (at_once == after) is (not case.remedies), "the remedy is for nothing, or there is none"
    assert scene.is_complete()
    assert all(scene.times_indexed(tag) <= 1 for tag in scene.wanted)
    assert system.dead_letters == []
    failed = [one for one in scene.executions() if one.status is not Status.SUCCEEDED]
    assert bool(failed) is case.is_superseded


# --- faults by name -----------------------------------------------------------------------------------------

FUNCTIONS = {
    "ImageFilter": DECIDING,
    "IndexLayer": PUSHING_ZTOC,
    "PublishIndex": PUBLISHING,
    "ImageLister": LISTING,
}
"""The request at which each is hit; the recorder sends none."""


def begins_with(function: str) -> str:
    return "search" if function == "ImageLister" else "announce"


def redrive_of(function: str) -> str:
    return REDRIVE_SEARCH if function == "ImageLister" else REDRIVE


CASES = [
    *(
        Case(
            fault=f"{function} {said}, once",
            inject=ends(function, how, where, 1),
            # A layer that took all its memory or time does so again, so nothing tries it again by itself.
            remedies=(REDRIVE,) if function == "IndexLayer" else (),
            begins=begins_with(function),
        )
        for function, where in FUNCTIONS.items()
        for how, said in ((KILLED, "killed"), (OUT_OF_TIME, "out of time"))
    ),
    *(
        Case(
            fault=f"{function} {said}, lastingly",
            inject=ends(function, how, where, None),
            remedies=(redrive_of(function),),
            begins=begins_with(function),
            images=FEW,
        )
        for function, where in FUNCTIONS.items()
        for how, said in ((KILLED, "killed"), (OUT_OF_TIME, "out of time"))
    ),
    Case(
        fault="IndexLayer killed while it reads a layer, once",
        inject=ends("IndexLayer", KILLED, READING, 1),
        remedies=(REDRIVE,),
    ),
    Case(
        fault="PublishIndex killed when the tag has moved, once",
        inject=ends("PublishIndex", KILLED, MOVING_THE_TAG, 1, is_done=True),
    ),
    Case(
        fault="PublishIndex killed when the tag has moved, lastingly",
        inject=ends("PublishIndex", KILLED, MOVING_THE_TAG, None, is_done=True),
        remedies=(REDRIVE,),
    ),
    *(
        Case(fault=f"OutcomeRecorder {said}, once", inject=recorder_ends(how, 1))
        for how, said in ((KILLED, "killed"), (OUT_OF_TIME, "out of time"))
    ),
    Case(
        fault="OutcomeRecorder killed when the event is put, once",
        inject=recorder_ends(KILLED, 1, is_done=True),
    ),
    *(
        Case(
            fault=f"OutcomeRecorder {said}, lastingly",
            inject=recorder_ends(how, None),
            remedies=(REPLAY, REDRIVE),
            images=("one",),
        )
        for how, said in ((KILLED, "killed"), (OUT_OF_TIME, "out of time"))
    ),
    *(
        Case(
            fault=f"{function} throttled, for a while",
            inject=throttled(function, 20),
            begins=begins_with(function),
            images=FEW,
        )
        for function in (*FUNCTIONS, "OutcomeRecorder")
    ),
    *(
        Case(
            fault=f"{function} throttled, lastingly",
            inject=throttled(function, None),
            remedies=(REPLAY, REDRIVE) if function == "OutcomeRecorder" else (redrive_of(function),),
            begins=begins_with(function),
            images=FEW,
        )
        for function in (*FUNCTIONS, "OutcomeRecorder")
    ),
    Case(fault="registry down, for a while", inject=registry(UNAVAILABLE, ANYTHING, 5)),
    Case(fault="registry down, lastingly", inject=registry(UNAVAILABLE, ANYTHING, None), remedies=(REDRIVE,)),
    Case(
        fault="registry down when an index is published, lastingly",
        inject=registry(UNAVAILABLE, PUBLISHING, None),
        remedies=(ANEW,),
        is_superseded=True,
    ),
    *(
        Case(
            fault=f"registry down while the daily search {what}, lastingly",
            inject=registry(UNAVAILABLE, where, None),
            remedies=(REDRIVE_SEARCH,),
            begins="search",
        )
        for what, where in (("lists", LISTING), ("publishes", PUBLISHING))
    ),
    *(
        Case(fault=f"registry cut while {what}, twice", inject=registry(harm, where, 2))
        for what, harm, where in (
            ("a zTOC is pushed", Harm.RESET_IN_REQUEST, SENDING_A_ZTOC),
            ("a zTOC is pushed and its answer lost", Harm.RESET_AFTER, SENDING_A_ZTOC),
            ("a manifest is pushed", Harm.RESET_IN_REQUEST, PUBLISHING),
            ("a manifest is pushed and its answer lost", Harm.RESET_AFTER, PUBLISHING),
        )
    ),
    *(
        Case(fault=f"{name} {what}, lastingly", inject=reuse_fails(service, code))
        for name, service, busy in (
            ("zTOC table", "dynamodb", "ProvisionedThroughputExceededException"),
            ("key of the table's MACs", "kms", "ThrottlingException"),
        )
        for what, code in (("does not answer", ""), ("throttles", busy), ("refuses", "AccessDeniedException"))
    ),
    Case(fault="event bus fails, for a while", inject=aws("events", "InternalException", 4)),
    *(
        Case(
            fault=f"event bus {what}, lastingly",
            inject=aws("events", code),
            remedies=(REPLAY, REDRIVE),
            images=("one",),
        )
        for what, code in (("refuses events", "AccessDeniedException"), ("does not answer", ""))
    ),
    Case(
        fault="registry and event bus down, lastingly",
        inject=together(registry(UNAVAILABLE, PUBLISHING, None), aws("events", "AccessDeniedException")),
        remedies=(REPLAY, REDRIVE),
        images=FEW,
    ),
    Case(fault="events of pushes lost, searched for by itself", inject=events_lost, remedies=(NEXT_SEARCH,)),
    Case(fault="events of pushes lost, searched for by hand", inject=events_lost, remedies=(SEARCH,)),
    Case(
        fault="events of pushes in the dead-letter queue",
        inject=undeliverable("IndexImage"),
        remedies=(REPLAY,),
    ),
    Case(
        fault="events of failures in the dead-letter queue",
        inject=together(registry(UNAVAILABLE, PUBLISHING, None), undeliverable("OutcomeRecorder")),
        remedies=(REPLAY, REDRIVE),
        images=FEW,
    ),
    Case(
        fault="daily search in the dead-letter queue",
        inject=undeliverable("ReindexRepositories"),
        remedies=(REPLAY,),
        begins="search",
    ),
]


HANGING = [
    *(
        Case(
            fault=f"registry hangs while {what}",
            inject=inject,
            remedies=remedies,
            images=("one",),
            begins=begins,
        )
        for what, inject, remedies, begins in (
            ("an image is looked at", registry(Harm.HANG, DECIDING, 1), (), "announce"),
            ("a layer is read", layer_hangs, (REDRIVE,), "announce"),
            ("an index is published", registry(Harm.HANG, PUBLISHING, 1), (), "announce"),
            ("images are listed", registry(Harm.HANG, LISTING, 1), (), "search"),
        )
    ),
    Case(
        fault="registry hangs while an index is published, lastingly",
        inject=registry(Harm.HANG, PUBLISHING, None),
        remedies=(REDRIVE,),
        images=("one",),
    ),
]


@contextmanager
def stage(directory: Path, *, longest_call_seconds: float) -> Iterator[Stage]:
    """A system, one process for each function, and a shell in its account."""
    with (
        LocalSystem(
            settings=settings(),
            behaviour=NO_RATES,
            time_scale=0.0001,
            processes=1,
            longest_call_seconds=longest_call_seconds,
        ) as system,
        terminal(directory, region=REGION, answers=Aws(system).answers) as shell,
    ):
        yield system, shell


@pytest.fixture(scope="module")
def patient(tmp_path_factory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("shell"), longest_call_seconds=900) as opened:
        yield opened


@pytest.fixture(scope="module")
def impatient(tmp_path_factory) -> Iterator[Stage]:
    """A stage whose functions have so little time that a test can wait for its end."""
    with stage(tmp_path_factory.mktemp("shell"), longest_call_seconds=4) as opened:
        yield opened


def name_of(case: Case) -> str:
    """Return the name of a case: its test's id and its repository."""
    return re.sub(r"[^a-z]+", "-", case.fault.lower())


def scene_of(case: Case, stage: Stage, directory: Path) -> Scene:
    """Put the case's images into a repository of its own."""
    system, shell = stage
    repository = name_of(case)
    wanted = {}
    for tag in case.images:
        image = an_image(f"{repository}-{tag}", sizes=IMAGES[tag])
        wanted[tag] = made_of(image, directory / tag, is_indexed=tag != "small")
        put(system.registry.repository(repository), image, tag)
    before = len(system.executions())
    return Scene(system=system, shell=shell, repository=repository, wanted=wanted, executions_before=before)


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_every_image_has_its_correct_result_once_after_the_remedy(case, patient, table, tmp_path):
    table.append(row := Row(case.fault))

    run_case(case, scene_of(case, patient, tmp_path), row)


@pytest.mark.parametrize("case", HANGING, ids=name_of)
def test_every_image_has_its_correct_result_once_after_the_remedy_where_nothing_answers(
    case, impatient, table, tmp_path
):
    table.append(row := Row(case.fault))

    run_case(case, scene_of(case, impatient, tmp_path), row)


def test_the_daily_search_finds_nothing_missing_at_the_end(patient):
    system, _ = patient
    before = len(system.executions())

    system.run_schedules(datetime.now(UTC) + timedelta(hours=10))
    system.wait_idle()

    (search,) = system.executions()[before:]
    assert (search.status, search.output["images"]) == (Status.SUCCEEDED, 0)


def test_wrong_results_are_detected(patient, tmp_path):
    case = Case(fault="nothing but our own hand", inject=events_lost, images=("one",))
    scene = scene_of(case, patient, tmp_path)
    repository = patient[0].registry.repository(scene.repository)
    scene.announce()
    assert (scene.done(), scene.wrong(), scene.is_complete()) == ({"one"}, [], True)

    index = next(one for one in repository.manifests.values() if "soci" in one.artifact_type)
    damaged = index.document["layers"][0]["digest"]
    repository.blobs[damaged] = repository.blobs[damaged][:-1] + b"?"
    assert any(damaged in one for one in scene.wrong())
    repository.put_blob(b"half made")
    repository.tags["one-soci"] = repository.tags["one"]

    assert scene.done() == set()
    assert len(scene.wrong()) == 2, "the blob, and the tag"
