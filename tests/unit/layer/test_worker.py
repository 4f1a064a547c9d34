from __future__ import annotations

import threading

import pytest

from soci.layer.worker import QUEUED_ITEMS, Worker


class Refused(Exception):
    """An error of a handler."""


def test_items_are_handled_in_order_on_another_thread():
    handled: list[tuple[int, int]] = []
    worker = Worker[int](lambda item: handled.append((item, threading.get_ident())))

    for item in range(100):
        worker.put(item)
    worker.finish()

    assert [item for item, _ in handled] == list(range(100))
    assert threading.get_ident() not in {thread for _, thread in handled}


def test_finish_raises_the_handlers_error_and_later_items_are_dropped():
    handled: list[int] = []
    dropped: list[int] = []

    def handle(item: int) -> None:
        handled.append(item)
        if item == 3:
            raise Refused

    worker = Worker[int](handle, drop=dropped.append)
    for item in range(3 * QUEUED_ITEMS):
        worker.put(item)

    with pytest.raises(Refused):
        worker.finish()
    assert handled == [0, 1, 2, 3]
    assert dropped == list(range(3, 3 * QUEUED_ITEMS))


def test_put_waits_while_the_queue_is_full():
    may_go_on = threading.Event()

    def wait(_: int) -> None:
        may_go_on.wait(10)

    def put_many() -> None:
        for item in range(QUEUED_ITEMS + 2):
            worker.put(item)

    worker = Worker[int](wait)
    putting = threading.Thread(target=put_many)
    putting.start()
    putting.join(timeout=0.05)
    waited = putting.is_alive()
    may_go_on.set()
    putting.join(timeout=10)
    worker.finish()

    assert waited
    assert not putting.is_alive()


def test_a_worker_may_be_stopped_twice_without_an_error():
    def refuse(_: int) -> None:
        raise Refused

    worker = Worker[int](refuse)
    worker.put(1)

    worker.stop()
    worker.stop()

    assert isinstance(worker.error, Refused)


def test_a_stopped_worker_leaves_no_thread_behind():
    before = threading.active_count()
    worker = Worker[int](lambda _: None)
    during = threading.active_count()

    worker.stop()

    assert (during, threading.active_count()) == (before + 1, before)
