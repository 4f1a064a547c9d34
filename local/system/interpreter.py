"""Moto's interpreter with hooks, so that it runs as Step Functions does.

Moto walks through the states, evaluates paths and choices, and retries and catches errors. The hooks, here and in
`maps`, add what moto lacks or does differently from Step Functions:

- tasks call the `Services` of this machine instead of an endpoint;
- every visit to a state is recorded (`Run`, `Visit`);
- a Distributed Map fails and starts no more items once too many items have failed (moto: never fails, and gives null);
- an execution can be redriven from its failed state, without repeating successful items and branches (moto: cannot);
- waits between attempts are scaled, so that tests need not wait minutes. Definitions do not change.
"""

from __future__ import annotations

import copy
import functools
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import cast

from local.system import maps
from local.system.frames import ExecutionTerms, data_of, required, terms_of, visit_of
from local.system.moto_parser import (
    CommonStateField,
    Environment,
    EvalComponent,
    FailureEventException,
    Program,
    ProgramEnded,
    ProgramError,
    ProgramTimedOut,
    StartAt,
    lambda_eval_utils,
    replace,
    replace_method,
    set_final,
)
from local.system.record import Json, Run, Status, Visit

_terms: dict[str, ExecutionTerms] = {}
_thread = threading.local()


def host(execution_arn: str, terms: ExecutionTerms) -> None:
    """Register the terms of an execution that is about to start."""
    _install()
    _terms[execution_arn] = terms


# --- programs and states --------------------------------------------------------------------------------------


def _evaluate_program(original: Callable[..., None], program: Program, env: Environment) -> None:
    """Run a chain of states, of an execution or of a map's item."""
    data = data_of(env)
    if data.visit is not None:
        data.run = _evaluate_part(original, program, env, data.visit)
        return
    data.terms = terms = _terms.pop(env.states.context_object.context_object_data["Execution"]["Id"])
    data.run = terms.run
    context = cast("dict[str, object]", env.states.context_object.context_object_data["Execution"])
    context["RedriveCount"] = terms.redrives  # moto knows no redrives
    original(_resumed(program, env, terms.resumes), env)
    _note_end(terms.run, env)
    terms.finished()


def _evaluate_part(original: Callable[..., None], program: Program, env: Environment, outer: Visit) -> Run:
    """Run a map's item or a branch, as part of the visit to its state."""
    branches = data_of(env).branches
    index = next((number for number, branch in enumerate(branches) if branch is program), None)
    if index is None:
        index = required(env.states.context_object.context_object_data["Map"])["Item"]["Index"]
    run = data_of(env).run = Run(name=f"{outer.state}[{index}]", index=index)
    before = outer.resumes.items_by_index().get(index) if outer.resumes else None
    outer.items.append(run)
    if before and before.status is Status.SUCCEEDED:
        env.next_state_name = program.start_at.start_at_name
        env.states.reset(copy.deepcopy(before.output))
        env.set_ended()
    else:
        original(_resumed(program, env, before), env)
    _note_end(run, env)
    if outer.stops_together and run.error is None and _has_failed(outer):
        run.status = Status.ABORTED
    return run


def _resumed(program: Program, env: Environment, before: Run | None) -> Program:
    """Return the program starting at the state that failed before, with that state's input."""
    if before is None or not before.visits:
        return program
    failed = before.visits[-1]
    env.states.reset(copy.deepcopy(failed.input))
    data_of(env).resumes = failed
    resumed = copy.copy(program)
    set_final(resumed, "start_at", StartAt(failed.state))
    return resumed


def _has_failed(visit: Visit) -> bool:
    return any(item.status is Status.FAILED for item in visit.items)


def _note_end(run: Run, env: Environment) -> None:
    state = env.program_state()
    if isinstance(state, ProgramEnded):
        run.output = copy.deepcopy(env.states.get_input())
        run.status = Status.SUCCEEDED
    elif isinstance(state, ProgramError):
        error = cast("dict[str, str | None]", state.error or {})
        run.error, run.cause = error.get("error"), error.get("cause")
        run.status = Status.FAILED
    else:
        run.status = Status.TIMED_OUT if isinstance(state, ProgramTimedOut) else Status.ABORTED


def _evaluate_state(state: CommonStateField, env: Environment) -> None:
    data = data_of(env)
    visit = Visit(state=state.name, input=copy.deepcopy(env.states.get_input()))
    visit.resumes, data.resumes = data.resumes, None
    outer, data.visit = data.visit, visit
    required(data.run).visits.append(visit)
    try:
        EvalComponent.eval(state, env)
    except FailureEventException as error:
        visit.error = (error.extract_error_cause_pair() or (None,))[0] or "States.Runtime"
        raise
    finally:
        visit.left = time.monotonic()
        data.visit = outer


def _make_frame(
    original: Callable[..., Environment], cls: type, env: Environment, **how: object
) -> Environment:
    frame = original(cls, env=env, **how)
    outer, data = data_of(env), data_of(frame)
    data.terms, data.visit, data.branches = outer.terms, outer.visit, outer.branches
    return frame


# --- tasks ----------------------------------------------------------------------------------------------------


def _execute_function(env: Environment, parameters: Mapping[str, Json], **_: object) -> None:
    """Invoke a function for a task, for both forms of its resource."""
    visit_of(env).calls += 1
    answer = terms_of(env).services.invoke(parameters["FunctionName"], parameters["Payload"])
    text = answer.payload.decode()
    if answer.function_error:
        raise lambda_eval_utils.LambdaFunctionErrorException(answer.function_error, text)
    env.stack.append({"ExecutedVersion": "$LATEST", "StatusCode": 200, "Payload": json.loads(text)})


class _EventsClient:
    """An EventBridge client with the one method that tasks call. It runs in the thread of the task."""

    def put_events(self, **request: Json) -> Json:
        terms_of(_thread.env).services.put_events(request["Entries"])
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "local"} for _ in request["Entries"]]}


def _client_for(*, service: str, **_: object) -> object:
    if service != "events":
        raise NotImplementedError(f"a state machine calls {service}, which this machine does not offer")
    return _EventsClient()


def _evaluate_events_task(
    original: Callable[..., None], task: object, env: Environment, **how: object
) -> None:
    _thread.env = env
    original(task, env=env, **how)


def _wait_before_retry(original: Callable[..., None], retrier: object, env: Environment) -> None:
    _thread.time_scale = terms_of(env).time_scale
    original(retrier, env)


# --- replacing the interpreter's parts -------------------------------------------------------------------------


@functools.cache
def _install() -> None:
    """Replace the parts, once in the process: the interpreter cannot be configured."""
    logging.getLogger("moto").setLevel(logging.CRITICAL)  # failed executions are results here
    replace_method("program", _evaluate_program)
    replace("state", lambda _: _evaluate_state)
    replace("frame", lambda frame: classmethod(functools.partial(_make_frame, frame.__func__)))
    replace("function task", lambda _: _execute_function)
    replace("events client", lambda _: _client_for)
    replace_method("events task", _evaluate_events_task)
    replace_method("retry", _wait_before_retry)
    scaled = SimpleNamespace(sleep=lambda seconds: time.sleep(seconds * _thread.time_scale))
    replace("retry clock", lambda _: scaled)
    for items in ("inline items", "distributed items"):
        replace(items, lambda _: maps.ItemPool)
    replace_method("inline map", maps.run_inline_map)
    replace_method("branches", maps.run_branches)
    replace_method("distributed map", maps.run_distributed_map)
    # The generated parser is slow; its results can be shared.
    replace("parse", lambda parse: staticmethod(functools.cache(parse.__func__)))
