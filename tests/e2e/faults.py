"""Faults of the stack and of what it uses. Each is injected into a system and counts how often it happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from local.registry import Answer, Harm, Meanwhile, action, request_to
from local.registry.faults import Where
from local.system.system import LocalSystem

Happened = Callable[[], int]
Inject = Callable[[LocalSystem], Happened]
KILLED, OUT_OF_TIME = "kill", "let_time_run_out"

UNAVAILABLE = Answer(503, retry_after_seconds=1_000)
"""So long that the function gives up at once and the workflow retries."""


def sent(*methods: str, path: str = "/blobs/uploads/") -> Where:
    """Choose requests of several methods."""
    chosen = [request_to(method, path) for method in methods]
    return lambda exchange: any(where(exchange) for where in chosen)


DECIDING = request_to("GET", "/manifests/")
READING = request_to("GET", "/blobs/")
PUSHING_ZTOC = request_to("POST", "/blobs/uploads/")
PUBLISHING = request_to("PUT", "/manifests/")
MOVING_THE_TAG = request_to("PUT", "/manifests/.*-soci$")
LISTING = action("DescribeImages")
SENDING_A_ZTOC = sent("PATCH", "PUT")
ANYTHING = sent("GET", "HEAD", "POST", "PATCH", "PUT", path="^/v2/")


def ends(function: str, how: str, where: Where, times: int | None, *, is_done: bool = False) -> Inject:
    """The processes of a function end when such a request reaches the registry while they are at work."""

    def inject(system: LocalSystem) -> Happened:
        pool, count = system.function(function), Counter[str]()

        def act() -> None:
            count[how] += 1
            getattr(pool, how)()

        system.registry.fail(
            Meanwhile(act, is_done=is_done),
            where=lambda exchange: where(exchange) and pool.is_at_work(),
            times=times,
        )
        return count.total

    return inject


def recorder_ends(how: str, times: int | None, *, is_done: bool = False) -> Inject:
    """The recorder ends when it puts an event on the bus."""

    def inject(system: LocalSystem) -> Happened:
        act = getattr(system.function("OutcomeRecorder"), how)
        failing = system.aws_api.meanwhile("events", act, is_done=is_done, times=times)
        return lambda: failing.happened

    return inject


def throttled(function: str, times: int | None) -> Inject:
    """Lambda throttles a function."""

    def inject(system: LocalSystem) -> Happened:
        pool = system.function(function)
        before = pool.refusals
        pool.throttle(times=times)
        return lambda: pool.refusals - before

    return inject


def registry(fault: Answer | Harm, where: Where, times: int | None) -> Inject:
    """Requests to the registry fail."""

    def inject(system: LocalSystem) -> Happened:
        count = Counter[str]()

        def chosen(exchange: Any) -> bool:
            count["requests"] += (is_chosen := where(exchange))
            return is_chosen

        system.registry.fail(fault, where=chosen, times=times)
        return count.total

    return inject


def layer_hangs(system: LocalSystem) -> Happened:
    """The registry hangs while it sends a layer."""
    pool = system.function("IndexLayer")
    return registry(Harm.HANG, lambda exchange: READING(exchange) and pool.is_at_work(), 1)(system)


def reuse_fails(service: str, code: str) -> Inject:
    """The table or its MAC key fails, for new processes: running ones have stopped to use it."""

    def inject(system: LocalSystem) -> Happened:
        system.function("IndexLayer").renew()
        return aws(service, code)(system)

    return inject


def aws(service: str, code: str, times: int | None = None) -> Inject:
    """Calls of another service fail."""

    def inject(system: LocalSystem) -> Happened:
        failing = system.aws_api.fail(service, code, times=times)
        return lambda: failing.happened

    return inject


def events_lost(system: LocalSystem) -> Happened:
    """ECR's events are lost."""
    before = len(system.bus.lost)
    system.bus.lose(lambda event: event["source"] == "aws.ecr")
    return lambda: len(system.bus.lost) - before


def undeliverable(target: str) -> Inject:
    """EventBridge may not start the target of a rule."""

    def inject(system: LocalSystem) -> Happened:
        arn = system.deployed.template.resources[target].arn
        system.deliveries.refuse(lambda to: to == arn)
        return lambda: len(system.dead_letters)

    return inject


def together(*faults: Inject) -> Inject:
    """All of the given faults at once."""

    def inject(system: LocalSystem) -> Happened:
        happened = [fault(system) for fault in faults]
        return lambda: min(one() for one in happened)

    return inject
