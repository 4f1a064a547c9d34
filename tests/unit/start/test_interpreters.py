from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from soci.start.interpreters import interpreter_of

LOADER = b"/lib/ld.so.1"


def elf(*, bits: int = 64, order: str = "<", segments: tuple[int, ...] = (6, 3, 1)) -> bytes:
    """The head of a program with these types of segments; that of type 3 names the loader (elf(5))."""
    header = 64 if bits == 64 else 52
    size = 56 if bits == 64 else 32
    name_at = header + size * len(segments)
    head = b"\x7fELF" + bytes([2 if bits == 64 else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    pointers = "QQQ" if bits == 64 else "III"
    head += struct.pack(
        f"{order}HHI{pointers}IHHHHHH", 2, 62, 1, 0, header, 0, 0, header, size, len(segments), 0, 0, 0
    )
    for kind in segments:
        length = len(LOADER) + 1
        head += (
            struct.pack(f"{order}IIQQQQQQ", kind, 4, name_at, 0, 0, length, length, 1)
            if bits == 64
            else struct.pack(f"{order}IIIIIIII", kind, name_at, 0, 0, length, length, 4, 1)
        )
    return head + LOADER + b"\0" + b"more"


@pytest.mark.parametrize("order", ["<", ">"], ids=["little endian", "big endian"])
@pytest.mark.parametrize("bits", [32, 64])
def test_a_program_names_its_loader(bits: int, order: str) -> None:
    assert interpreter_of(elf(bits=bits, order=order)) == LOADER
    assert interpreter_of(elf(bits=bits, order=order, segments=(1, 2))) is None


def test_the_loader_of_a_real_program_is_found() -> None:
    found = interpreter_of(Path("/bin/sh").read_bytes())

    assert found is not None
    assert Path(found.decode()).name.startswith("ld-linux")
    assert Path(found.decode()).exists()


@pytest.mark.parametrize(
    ("head", "path"),
    [
        (b"#!/bin/sh\n", b"/bin/sh"),
        (b"#! /usr/bin/env python3\nimport", b"/usr/bin/env"),
        (b"#!/bin/sh", b"/bin/sh"),
        (b"#!relative\n", None),
        (b"#!\n", None),
        (b"#!   \n", None),
        (b"echo", None),
        (b"", None),
    ],
)
def test_a_script_names_its_interpreter(head: bytes, path: bytes | None) -> None:
    assert interpreter_of(head) == path


def test_a_damaged_program_names_nothing_or_a_path() -> None:
    random_ = random.Random(1)  # noqa: S311 - the same each time
    for _ in range(3000):
        head = bytearray(elf(bits=random_.choice((32, 64))))
        for _ in range(3):
            head[random_.randrange(4, len(head))] = random_.randrange(256)
        found = interpreter_of(bytes(head[: random_.randrange(4, len(head))]))
        assert found is None or found.startswith(b"/")
