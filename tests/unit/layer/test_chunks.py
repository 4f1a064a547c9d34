from __future__ import annotations

import threading

from soci.layer.chunks import CHUNK_BYTES, RING_BUFFERS, WINDOW_BYTES, Chunk, Ring

CARRIED = bytes(range(256)) * 128


def test_a_buffer_begins_with_the_carried_window_and_has_room_for_a_chunk():
    buffer = Ring().take(CARRIED)

    assert buffer[:WINDOW_BYTES] == CARRIED
    assert len(buffer) == WINDOW_BYTES + CHUNK_BYTES


def test_a_window_may_be_carried_over_from_another_buffer():
    ring = Ring()
    first = ring.take(bytes(WINDOW_BYTES))
    first[-WINDOW_BYTES:] = CARRIED

    assert ring.take(memoryview(first)[-WINDOW_BYTES:])[:WINDOW_BYTES] == CARRIED


def test_buffers_are_distinct_until_they_are_given_back():
    ring = Ring()
    buffers = [ring.take(bytes(WINDOW_BYTES)) for _ in range(RING_BUFFERS)]

    ring.give_back(Chunk(buffers[1], WINDOW_BYTES, 0))

    assert len({id(buffer) for buffer in buffers}) == RING_BUFFERS
    assert ring.take(CARRIED) is buffers[1]


def test_taking_a_buffer_waits_until_one_is_given_back():
    ring = Ring()
    buffers = [ring.take(bytes(WINDOW_BYTES)) for _ in range(RING_BUFFERS)]
    taken: list[bytearray] = []
    waiting = threading.Thread(target=lambda: taken.append(ring.take(CARRIED)))
    waiting.start()
    before = list(taken)

    ring.give_back(Chunk(buffers[0], WINDOW_BYTES, 0))
    waiting.join(timeout=10)

    assert before == []
    assert taken == [buffers[0]]
