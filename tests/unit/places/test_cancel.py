from __future__ import annotations

import time
from threading import Timer

import pytest

from soci.errors import Stopped
from soci.places.cancel import Stop, current_stop, pause, threads_of_caller


def test_a_wait_ends_when_its_work_is_stopped():
    stop = Stop()
    Timer(0.1, stop.set).start()
    started = time.monotonic()

    with stop.governs(), pytest.raises(Stopped):
        pause(30)

    assert time.monotonic() - started < 2


def test_a_wait_that_nobody_ends_takes_its_time():
    started = time.monotonic()

    pause(0.05)

    assert time.monotonic() - started >= 0.05


def test_only_the_thread_and_the_block_are_governed():
    outer, inner = Stop(), Stop()

    with outer.governs():
        with inner.governs():
            assert current_stop() is inner
        assert current_stop() is outer
    assert current_stop() not in (outer, inner)
    current_stop().check()


def test_what_is_noted_is_called_once_when_the_stop_is_set_or_has_been():
    stop = Stop()
    called = []

    with stop.on_set(lambda: called.append("first")):
        stop.set()
    with stop.on_set(lambda: called.append("second")):
        pass
    stop.set()

    assert called == ["first", "second"]


def test_a_stop_within_another_ends_with_it():
    outer, inner = Stop(), Stop()

    with outer.on_set(inner.set):
        outer.set()

    with pytest.raises(Stopped):
        inner.check()


def test_threads_for_parts_of_the_work_end_with_it():
    stop = Stop()
    Timer(0.1, stop.set).start()
    started = time.monotonic()

    with stop.governs(), threads_of_caller(2) as pool, pytest.raises(Stopped):
        list(pool.map(pause, (30, 30)))

    assert time.monotonic() - started < 2
