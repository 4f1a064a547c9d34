from __future__ import annotations

import time
from threading import Timer

import pytest

from soci.errors import Stopped
from soci.places.cancellation import (
    Cancellation,
    cancellable_sleep,
    cancellable_threads,
    current_cancellation,
)


def test_a_wait_ends_when_its_work_is_cancelled():
    cancellation = Cancellation()
    Timer(0.1, cancellation.cancel).start()
    started = time.monotonic()

    with cancellation.scope(), pytest.raises(Stopped):
        cancellable_sleep(30)

    assert time.monotonic() - started < 2


def test_a_wait_that_is_not_cancelled_takes_its_time():
    started = time.monotonic()

    cancellable_sleep(0.05)

    assert time.monotonic() - started >= 0.05


def test_a_scope_holds_for_its_thread_and_its_block():
    outer, inner = Cancellation(), Cancellation()

    with outer.scope():
        with inner.scope():
            assert current_cancellation() is inner
        assert current_cancellation() is outer
    assert current_cancellation() not in (outer, inner)
    current_cancellation().check()


def test_a_callback_is_called_once_on_cancellation_or_at_once_after_it():
    cancellation = Cancellation()
    called = []

    with cancellation.on_cancel(lambda: called.append("first")):
        cancellation.cancel()
    with cancellation.on_cancel(lambda: called.append("second")):
        pass
    cancellation.cancel()

    assert called == ["first", "second"]


def test_a_cancellation_can_cancel_another():
    outer, inner = Cancellation(), Cancellation()

    with outer.on_cancel(inner.cancel):
        outer.cancel()

    with pytest.raises(Stopped):
        inner.check()


def test_threads_are_cancelled_with_the_thread_that_started_them():
    cancellation = Cancellation()
    Timer(0.1, cancellation.cancel).start()
    started = time.monotonic()

    with cancellation.scope(), cancellable_threads(2) as pool, pytest.raises(Stopped):
        list(pool.map(cancellable_sleep, (30, 30)))

    assert time.monotonic() - started < 2
