from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from local.system.functions import Answer, FunctionPool, Functions


class Echo:
    """A process that answers with what it is given, and notes how many are at work."""

    def __init__(self, gate: threading.Barrier | None = None) -> None:
        self.gate = gate
        self.closed = False
        self.served = 0
        self.ended: list[str] = []

    def invoke(self, payload: bytes) -> Answer:
        if self.gate is not None:
            self.gate.wait()
        self.served += 1
        return Answer(payload=payload)

    def kill(self) -> None:
        self.ended.append("kill")

    def let_time_run_out(self) -> None:
        self.ended.append("let_time_run_out")

    def close(self) -> None:
        self.closed = True


def pool_of(limit: int, gate: threading.Barrier | None = None) -> tuple[FunctionPool, list[Echo]]:
    started: list[Echo] = []

    def start() -> Echo:
        started.append(Echo(gate))
        return started[-1]

    return FunctionPool(start, limit=limit), started


def test_a_free_process_is_reused():
    pool, started = pool_of(3)

    answers = [pool.invoke(b"1").payload, pool.invoke(b"2").payload]

    assert answers == [b"1", b"2"]
    assert [process.served for process in started] == [2]
    assert pool.invocations == 2


def test_concurrent_calls_have_separate_processes():
    pool, started = pool_of(2, threading.Barrier(2, timeout=10))

    with ThreadPoolExecutor(2) as threads:
        answers = {answer.payload for answer in threads.map(pool.invoke, (b"1", b"2"))}

    assert answers == {b"1", b"2"}
    assert len(started) == 2


def test_no_more_processes_are_started_than_the_limit():
    pool, started = pool_of(2)

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda n: pool.invoke(str(n).encode()).payload, range(50)))

    assert answers == [str(n).encode() for n in range(50)]
    assert len(started) <= 2
    assert sum(process.served for process in started) == 50


def test_closing_ends_every_process_even_busy_ones():
    gate = threading.Barrier(2, timeout=10)
    pool, started = pool_of(1, gate)
    with ThreadPoolExecutor(1) as threads:
        working = threads.submit(pool.invoke, b"1")
        while not started:
            time.sleep(0.001)
        pool.close()
        assert started[0].closed
        gate.wait()
        assert working.result().payload == b"1"


@pytest.mark.parametrize(
    "function",
    [
        "app",
        "arn:aws:lambda:eu-central-1:1:function:app",
        "arn:aws:lambda:eu-central-1:1:function:app:$LATEST",
    ],
    ids=["name", "arn", "version"],
)
def test_a_function_is_found_by_its_name_and_its_arn(function):
    functions = Functions({"app": pool_of(1)[0]})

    assert functions.invoke(function, b"{}").payload == b"{}"
    assert functions.invocations() == {"app": 1}


@pytest.mark.parametrize("how", ["kill", "let_time_run_out"])
def test_only_busy_processes_are_killed_on_request(how):
    gate = threading.Barrier(2, timeout=10)
    pool, started = pool_of(2, gate)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(pool.invoke, (b"1", b"2")))
        working = threads.submit(pool.invoke, b"3")
        while not pool.is_at_work():
            time.sleep(0.001)
        getattr(pool, how)()
        gate.wait()
        working.result()

    assert sorted(process.ended for process in started) == [[], [how]]
    assert not pool.is_at_work()


def test_idle_processes_are_replaced_on_request():
    pool, started = pool_of(1)
    pool.invoke(b"1")

    pool.renew()
    pool.invoke(b"2")

    assert [(process.served, process.closed) for process in started] == [(1, True), (1, False)]


def test_throttled_calls_are_refused_the_given_number_of_times_and_start_no_process():
    pool, started = pool_of(1)
    pool.throttle(times=2)

    answers = [pool.invoke(b"{}") for _ in range(3)]

    assert [answer.function_error for answer in answers] == ["Unhandled", "Unhandled", None]
    assert b"Lambda.TooManyRequestsException" in answers[0].payload
    assert (pool.refusals, pool.invocations, len(started)) == (2, 1, 1)


def test_calls_are_throttled_until_healed():
    functions = Functions({"app": pool_of(1)[0]})
    functions.pool("app").throttle()

    refused = [functions.invoke("app", b"{}").function_error for _ in range(3)]
    functions.heal()

    assert refused == ["Unhandled"] * 3
    assert functions.invoke("app", b"{}").function_error is None
