"""Moto's interpreter of the Amazon States Language: the only module of this project that touches its private parts.

Why: moto runs Choice, Map, Distributed Map, Retry and Catch of real definitions, but offers no way to call functions
of this machine, to redrive an execution or to shorten waits. `local.system.interpreter` therefore replaces methods
deep inside its parser. Such a part has no stable interface: `VERSION` is the one that this project was tried with,
pinned in requirements-dev.txt. `REPLACED` lists every attribute that is replaced.

A new version of moto: tests/unit/local/system/test_moto_parser.py says what to do.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

from moto.stepfunctions.parser.api import HistoryEventType
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
    FailureEvent,
    FailureEventException,
)
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import (
    StatesErrorNameType,
)
from moto.stepfunctions.parser.asl.component.common.flow.start_at import StartAt
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
from moto.stepfunctions.parser.asl.component.eval_component import EvalComponent
from moto.stepfunctions.parser.asl.component.program.program import Program
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration import (
    distributed_iteration_component,
    inline_iteration_component,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.distributed_iteration_component import (
    DistributedIterationComponent,
    DistributedIterationComponentEvalInput,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.inline_iteration_component import (
    InlineIterationComponent,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.job import JobClosed, JobPool
from moto.stepfunctions.parser.asl.component.state.exec.state_parallel.branches_decl import BranchesDecl
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import state_task_service_events
from moto.stepfunctions.parser.asl.component.state.state import CommonStateField
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.eval.program_state import ProgramEnded, ProgramError, ProgramTimedOut
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.models import StepFunctionsParserBackend

__all__ = [
    "REPLACED",
    "VERSION",
    "BranchesDecl",
    "CommonStateField",
    "DistributedIterationComponentEvalInput",
    "Environment",
    "EvalComponent",
    "EventDetails",
    "FailureEvent",
    "FailureEventException",
    "HistoryEventType",
    "JobClosed",
    "JobPool",
    "Program",
    "ProgramEnded",
    "ProgramError",
    "ProgramTimedOut",
    "StartAt",
    "StatesErrorName",
    "StatesErrorNameType",
    "StepFunctionsParserBackend",
    "lambda_eval_utils",
    "replace",
    "replace_method",
    "set_final",
]

VERSION = "5.2.5"

REPLACED: dict[str, tuple[type | ModuleType, str]] = {
    "program": (Program, "eval"),
    "state": (CommonStateField, "eval"),
    "frame": (Environment, "as_inner_frame_of"),
    "function task": (lambda_eval_utils, "execute_lambda_function_integration"),
    "events client": (state_task_service_events, "boto_client_for"),
    "events task": (state_task_service_events.StateTaskServiceEvents, "_eval_service_task"),
    "retry": (retrier_decl.RetrierDecl, "_eval_body"),
    "retry clock": (retrier_decl, "time"),
    "inline items": (inline_iteration_component, "JobPool"),
    "distributed items": (distributed_iteration_component, "JobPool"),
    "inline map": (InlineIterationComponent, "_eval_body"),
    "distributed map": (DistributedIterationComponent, "_map_run"),
    "branches": (BranchesDecl, "_eval_body"),
    "parse": (AmazonStateLanguageParser, "parse"),
}
"""Owner and attribute of each part of the interpreter that `local.system.interpreter` replaces."""


def replace(part: str, value: Callable[[Any], object]) -> None:
    """Replace a part of the interpreter; `value` gets the original, a descriptor if it is one."""
    owner, name = REPLACED[part]
    set_final(owner, name, value(inspect.getattr_static(owner, name)))


def replace_method(part: str, hook: Callable[..., None]) -> None:
    """Replace a method by a hook. The hook gets the original method, then the method's own arguments."""

    def hooked(original: Callable[..., object]) -> object:
        def call(self: object, *args: object, **kwargs: object) -> None:
            hook(original, self, *args, **kwargs)

        return call

    replace(part, hooked)


def set_final(owner: object, name: str, value: object) -> None:
    """Set an attribute that its owner declares final, or a method."""
    setattr(owner, name, value)
