"""Check the machine and the Python that a compiled file is for."""

from __future__ import annotations

import re
import struct
from pathlib import Path

from infra.packaging.target import Target

_COMPILED = {".so", ".pyd", ".dylib"}
_INTERPRETER = re.compile(r"\.cpython-(?P<version>\d+)")


def misfit_of(file: Path, target: Target) -> str | None:
    """Say why a compiled file does not run on the target; None if it does, and for other files.

    Checks the ELF header (man 5 elf), and the Python version in the name if there is one.
    """
    with file.open("rb") as content:
        header = content.read(20)
    is_elf = header.startswith(b"\x7fELF")
    if target.elf_machine is None or not (is_elf or file.suffix in _COMPILED):
        return None
    machine = struct.unpack_from("<H", header, 18)[0] if is_elf and len(header) == 20 else None
    if machine != target.elf_machine:
        return f"{file.name}: compiled for ELF machine {machine}, {target.name} is {target.elf_machine}"
    tag = _INTERPRETER.search(file.name)
    if tag is not None and tag["version"] != target.interpreter_tag:
        return f"{file.name}: compiled for another Python than {target.python_version}"
    return None
