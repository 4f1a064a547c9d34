"""The machines and Python versions that assets are built for."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A Python version on a machine.

    `platform_tags` are the tags of wheels that run there; empty means this interpreter, whose tags pip knows.
    `elf_machine` is the machine in the ELF header of compiled files; None where they are not ELF.
    """

    name: str
    python_version: str
    platform_tags: tuple[str, ...]
    elf_machine: int | None

    @property
    def interpreter_tag(self) -> str:
        """The version in the names of compiled modules: `313` in `x.cpython-313-aarch64-linux-gnu.so`."""
        return self.python_version.replace(".", "")


_ELF_MACHINES = {"x86_64": 62, "aarch64": 183}  # EM_X86_64, EM_AARCH64


def _on_lambda(name: str, machine: str) -> Target:
    # python3.13 runs on Amazon Linux 2023, which has glibc 2.34. pip does not add older tags itself.
    perennial = tuple(f"manylinux_2_{minor}_{machine}" for minor in range(34, 16, -1))
    return Target(
        name=name,
        python_version="3.13",
        platform_tags=(*perennial, f"manylinux2014_{machine}"),
        elf_machine=_ELF_MACHINES[machine],
    )


LAMBDA_ARM64 = _on_lambda("lambda-arm64", "aarch64")
LAMBDA_X86_64 = _on_lambda("lambda-x86_64", "x86_64")


def this_machine() -> Target:
    """Return the target of this machine and interpreter, for functions that run locally."""
    machine = platform.machine()
    version = "{}.{}".format(*sys.version_info)
    return Target(
        name=f"{sys.platform}-{machine}-python{version}",
        python_version=version,
        platform_tags=(),
        elf_machine=_ELF_MACHINES.get(machine) if sys.platform == "linux" else None,
    )
