from __future__ import annotations

import ctypes
import re
import zlib

import pytest

from soci.layer.inflate import (
    BLOCK,
    BLOCK_BOUNDARY,
    LAST_BLOCK,
    NO_FLUSH,
    OK,
    STREAM_END,
    UNUSED_BITS,
    Engine,
    Inflater,
    default_engine,
    open_libz,
    open_zlib_ng,
)
from tests.builders import gzip_of, text

DATA = text(100_000)

each_engine = pytest.mark.parametrize("engine", [open_zlib_ng(), open_libz()], ids=lambda engine: engine.name)


class Run:
    """An inflater over a whole stream, with room for all of its output."""

    def __init__(self, engine: Engine, data: bytes, **options: int) -> None:
        self.inflater = Inflater(engine, **options)
        self._data = data
        self._room = ctypes.create_string_buffer(1 << 20)
        stream = self.inflater.stream
        stream.next_in, stream.avail_in = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value, len(data)
        stream.next_out, stream.avail_out = ctypes.addressof(self._room), len(self._room)

    @property
    def output(self) -> bytes:
        return self._room.raw[: len(self._room) - self.inflater.stream.avail_out]

    @property
    def consumed(self) -> int:
        return len(self._data) - int(self.inflater.stream.avail_in)


def test_both_engines_load_and_the_faster_one_is_the_default():
    assert (open_zlib_ng().name, open_libz().name) == ("zlib-ng", "zlib")
    assert default_engine() is open_zlib_ng()


@each_engine
def test_an_engine_tells_its_version(engine):
    assert re.fullmatch(r"\d+\.\d+.*", engine.version)


def test_without_the_package_zlib_ng_does_not_open(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)

    with pytest.raises(ImportError, match="zlib-ng package is not installed"):
        open_zlib_ng.__wrapped__()


def test_without_the_package_the_systems_zlib_is_the_default(monkeypatch):
    open_zlib_ng.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    try:
        assert default_engine.__wrapped__() is open_libz()
    finally:
        open_zlib_ng.cache_clear()


@each_engine
def test_a_gzip_file_inflates_whole(engine):
    run = Run(engine, gzip_of(DATA))

    assert run.inflater.inflate(NO_FLUSH) == STREAM_END
    assert run.output == DATA


@each_engine
def test_the_first_stop_is_after_the_header(engine):
    run = Run(engine, gzip_of(DATA))

    assert run.inflater.inflate(BLOCK) == OK
    assert (run.consumed, run.output) == (10, b"")
    assert run.inflater.stream.data_type & (BLOCK_BOUNDARY | LAST_BLOCK | UNUSED_BITS) == BLOCK_BOUNDARY


@each_engine
def test_inflate_stops_at_every_block_and_marks_the_last(engine):
    run = Run(engine, gzip_of(DATA, flush_at=[10_000, 20_000], flush_mode=zlib.Z_FULL_FLUSH))
    stops = []
    while (status := run.inflater.inflate(BLOCK)) == OK:
        stops.append((len(run.output), run.inflater.stream.data_type & LAST_BLOCK))

    assert status == STREAM_END
    assert {(0, 0), (10_000, 0), (20_000, 0)} <= set(stops)
    assert stops[-1][1] == LAST_BLOCK or stops[-1][0] < len(DATA)


@each_engine
def test_zlib_data_is_not_gzip(engine):
    run = Run(engine, zlib.compress(DATA))

    status = run.inflater.inflate(NO_FLUSH)

    assert status < 0
    assert run.inflater.message(status) == "incorrect header check"


@each_engine
def test_an_error_without_a_message_has_its_number(engine):
    assert Inflater(engine).message(-5) == "status -5"


@each_engine
def test_a_reset_starts_over_with_the_next_member(engine):
    run = Run(engine, gzip_of(DATA, members=2))
    statuses = [run.inflater.inflate(NO_FLUSH)]
    run.inflater.reset()
    statuses.append(run.inflater.inflate(NO_FLUSH))

    assert statuses == [STREAM_END, STREAM_END]
    assert run.output == DATA


@each_engine
def test_a_raw_stream_resumes_within_a_byte(engine):
    layer = gzip_of(DATA, memory_level=1)
    first = Run(open_libz(), layer)
    while first.inflater.inflate(BLOCK) == OK:
        bits = first.inflater.stream.data_type & UNUSED_BITS
        if first.inflater.stream.data_type & BLOCK_BOUNDARY and bits and len(first.output) > 40_000:
            break
    position, before = first.consumed, first.output

    run = Run(engine, layer[position:], window_bits=-15)
    run.inflater.resume(before[-32_768:], bits=bits, value=layer[position - 1] >> (8 - bits))

    assert bits
    assert run.inflater.inflate(NO_FLUSH) == STREAM_END
    assert before + run.output == DATA


@each_engine
def test_an_engine_that_cannot_start_raises(engine):
    with pytest.raises(MemoryError, match=f"{engine.name} cannot start to inflate: status -2"):
        Inflater(engine, window_bits=99)
