"""The program of the sample image: this machine's Python, which imports a good part of its standard library.

Its files are found by running it: the modules that it imported, and the shared libraries of the interpreter and of
those modules. In the image it needs nothing of the machine around it, so it can be started without a chroot: its own
loader is run, with its own libraries.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

IMPORTS = "asyncio, ctypes, decimal, email.message, http.server, json, logging.config, unittest, xml.etree.ElementTree"
GREETING = "ready"
PROGRAM = f"import {IMPORTS}, sys; print('{GREETING}', len(sys.modules), 'modules')"

_REPORT = (
    f"import {IMPORTS}, sys; print(json.dumps(sorted({{path for one in sys.modules.values() "
    "for path in (getattr(one, '__file__', None), getattr(one, '__cached__', None)) if path})))"
)
_FLAGS = ("-I", "-S", "-B")
"""Without the user's directories, without site packages, without writing."""

_HOME = "usr/local"
LIBRARY = f"{_HOME}/lib"
"""Where the image has the standard library and the shared libraries."""

_LOADER = f"{LIBRARY}/ld.so"
_INTERPRETER = f"{_HOME}/bin/python3"
_LDD_LINE = re.compile(r"\s*(?:(\S+) => )?(/\S+) \(0x[0-9a-f]+\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramFile:
    """A file that the program needs, its name in the image and its path on this machine."""

    name: str
    path: Path


def program_files() -> tuple[ProgramFile, ...]:
    """Return all files that the program reads, sorted by name; none where this machine's Python has no loader."""
    interpreter = Path(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))
    modules = [
        Path(path)
        for path in json.loads(_output(interpreter, *_FLAGS, "-c", _REPORT))
        if Path(path).is_file()
    ]
    libraries = dict(_libraries(interpreter, *(path for path in modules if path.suffix == ".so")))
    loader = next((path for name, path in libraries.items() if name.startswith("ld-")), None)
    if loader is None:
        return ()
    library = Path(sysconfig.get_path("stdlib"))
    files = {_INTERPRETER: interpreter, _LOADER: loader}
    files |= {f"{LIBRARY}/{name}": path for name, path in libraries.items()}
    files |= {
        f"{LIBRARY}/{library.name}/{path.relative_to(library)}": path
        for path in modules
        if path.is_relative_to(library)
    }
    return tuple(ProgramFile(name=name, path=path) for name, path in sorted(files.items()))


def program_command(root: Path) -> list[str]:
    """Return the command that starts the program in an image that is mounted at `root`."""
    libraries = root / LIBRARY
    return [
        *(str(root / _LOADER), "--library-path", str(libraries), str(root / _INTERPRETER)),
        *("-S", "-B", "-c", PROGRAM),
    ]


def program_environment(root: Path) -> dict[str, str]:
    """Return the environment that goes with `program_command`."""
    return {"PYTHONHOME": str(root / _HOME), "PYTHONNOUSERSITE": "1"}


def _libraries(*files: Path) -> Iterator[tuple[str, Path]]:
    """Yield the name and the path of each shared library that the files need."""
    for line in _output("ldd", *files).splitlines():
        if match := _LDD_LINE.match(line):
            path = Path(os.path.realpath(match[2]))
            yield match[1] or path.name, path


def _output(*command: str | Path) -> str:
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout
