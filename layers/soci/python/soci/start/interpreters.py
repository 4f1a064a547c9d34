"""What the kernel reads by itself to execute a program: the interpreter of a script, the loader of an ELF program."""

from __future__ import annotations

import struct

HEAD_BYTES = 64 << 10
"""More than enough: the kernel looks at 256 bytes of a script, and linkers put an ELF program's tables first."""

_MAX_SCRIPT_LINE_BYTES = 256
_MAX_PATH_BYTES = 4096
_PT_INTERP = 3
_64_BIT = 2
_LITTLE_ENDIAN = 1


def interpreter_of(head: bytes) -> bytes | None:
    """Return the path that the beginning of a program names (execve(2), elf(5)); None if it needs none."""
    if head.startswith(b"#!"):
        line = head[2:_MAX_SCRIPT_LINE_BYTES].partition(b"\n")[0]
        path = line.split()[0] if line.split() else b""
    elif head.startswith(b"\x7fELF"):
        path = _loader(head)
    else:
        return None
    return path if path.startswith(b"/") and len(path) <= _MAX_PATH_BYTES else None


def _loader(head: bytes) -> bytes:
    try:
        order = "<" if head[5] == _LITTLE_ENDIAN else ">"
        is_64_bit = head[4] == _64_BIT
        at, size, count = (
            (*struct.unpack_from(f"{order}Q", head, 32), *struct.unpack_from(f"{order}HH", head, 54))
            if is_64_bit
            else (*struct.unpack_from(f"{order}I", head, 28), *struct.unpack_from(f"{order}HH", head, 42))
        )
        for number in range(count):
            begin = at + number * size
            if struct.unpack_from(f"{order}I", head, begin)[0] == _PT_INTERP:
                fields = f"{order}Q16xQ" if is_64_bit else f"{order}I8xI"
                offset, length = struct.unpack_from(fields, head, begin + (8 if is_64_bit else 4))
                return head[offset : offset + length].rstrip(b"\0")
    except (struct.error, IndexError, OverflowError):
        pass  # not a program that the kernel would execute
    return b""
