"""Hooks for maps and branches: keep successful items over a redrive, and limit the failed items.

The interpreter gives a map's item pool no context, so the hooks pass it in thread-local data.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from typing import cast

from local.system.frames import data_of, required, visit_of
from local.system.moto_parser import (
    BranchesDecl,
    DistributedIterationComponentEvalInput,
    Environment,
    EventDetails,
    FailureEvent,
    FailureEventException,
    HistoryEventType,
    JobClosed,
    JobPool,
    Program,
    StatesErrorName,
    StatesErrorNameType,
    set_final,
)
from local.system.record import Json, Run, Status, Visit

_thread = threading.local()


class ItemPool(JobPool):
    """The items of a map. Items that succeeded before a redrive are done from the start.

    No more items start once more have failed than a distributed map tolerates.
    """

    def __init__(self, job_program: Program, job_inputs: list[Json]) -> None:
        super().__init__(job_program=job_program, job_inputs=job_inputs)
        self._visit = visit = required(cast("Visit | None", _thread.visit))
        self._tolerated = _thread.tolerance(len(job_inputs))
        if visit.resumes is None:
            return
        for index, run in sorted(visit.resumes.items_by_index().items()):
            if run.status is Status.SUCCEEDED:
                visit.items.append(run)
                self._closed_jobs.add(JobClosed(index, copy.deepcopy(run.output)))
        done = {job.job_index for job in self._closed_jobs}
        self._open_jobs[:] = [job for job in self._open_jobs if job.job_index not in done]

    def next_job(self) -> Json:
        """Return the next item; None if there is none."""
        if len(_failed_items(self._visit)) > self._tolerated:
            with self._mutex:
                set_final(self, "_jobs_number", self._jobs_number - len(self._open_jobs))
                self._open_jobs.clear()
        return super().next_job()


def _failed_items(visit: Visit) -> list[Run]:
    return [run for run in list(visit.items) if run.status not in {Status.SUCCEEDED, Status.RUNNING}]


def run_inline_map(original: Callable[..., None], component: object, env: Environment) -> None:
    """Run the items of an inline map. One failed item ends all others."""
    _thread.visit = _restarted(visit_of(env))
    _thread.tolerance = lambda total: total  # one failed item ends the map anyway
    visit_of(env).stops_together = True
    original(component, env)


def run_branches(original: Callable[..., None], branches: BranchesDecl, env: Environment) -> None:
    """Run the branches of a parallel state. One failed branch ends all others."""
    _restarted(visit_of(env)).stops_together = True
    data_of(env).branches = branches.programs
    original(branches, env)


def _restarted(visit: Visit) -> Visit:
    """Clear the items of a failed attempt, but keep the count of their calls."""
    visit.calls += sum(run.calls() for run in visit.items)
    visit.items.clear()
    return visit


def run_distributed_map(
    original: Callable[..., None],
    component: object,
    env: Environment,
    eval_input: DistributedIterationComponentEvalInput,
) -> None:
    """Run the items. Fails if more of them failed than the state tolerates (docs: "Distributed Map")."""
    count, percentage = eval_input.tolerated_failure_count, eval_input.tolerated_failure_percentage

    def tolerance(total: int) -> int:
        limits = [count] if count else []
        limits += [int(percentage * total / 100)] if percentage else []
        return min(limits, default=0)

    _thread.visit, _thread.tolerance = _restarted(visit_of(env)), tolerance
    total = len(env.stack[-1])
    original(component, env, eval_input)
    failed = _failed_items(visit_of(env))
    if len(failed) > tolerance(total):
        raise _too_many_failed(env, failed, total)
    if failed:
        # Step Functions returns only the results of successful items.
        failed_indexes = {run.index for run in failed}
        outputs = env.stack.pop()
        env.stack.append([output for n, output in enumerate(outputs) if n not in failed_indexes])


def _too_many_failed(env: Environment, failed: Sequence[Run], total: int) -> FailureEventException:
    name = StatesErrorName(typ=StatesErrorNameType.StatesExceedToleratedFailureThreshold)
    first = failed[0]
    cause = f"{len(failed)} of {total} items failed, first {first.name}: {first.error}"
    details = {"mapRunFailedEventDetails": {"error": name.error_name, "cause": cause}}
    return FailureEventException(
        FailureEvent(
            env=env,
            error_name=name,
            event_type=HistoryEventType.MapRunFailed,
            event_details=cast("EventDetails", details),
        )
    )
