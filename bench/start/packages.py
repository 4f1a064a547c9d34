"""The Debian packages, wheels and npm packages of the images: locked, fetched by their own clients, checked.

`packages.txt` has a section for each layer with the version and SHA-256 of each Debian package. `python -m
bench.start.packages` resolves it again with apt, against the main archive of the release, which changes only with
point releases. `wheels.txt` has sections too. The npm packages are in `node-red/package-lock.json`.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bench.layers import CACHE

HERE = Path(__file__).parent
PACKAGES = HERE / "packages.txt"
WHEELS = HERE / "wheels.txt"
NODE_RED = HERE / "node-red"
STORE = CACHE / "start"

_RELEASE = "bookworm"
_ARCHITECTURE = "amd64"
_HEAD = f"""\
# The Debian packages of each layer, {_RELEASE} {_ARCHITECTURE}: name=version sha256. Written by
# `python -m bench.start.packages`; a layer has what its packages need and the layers below it lack.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """One Debian package: exactly these bytes."""

    name: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        """The name of the file that apt writes."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_"


def locked_lines(path: Path) -> Mapping[str, tuple[str, ...]]:
    """Return the lines of each section of a lock file."""
    return _locked_lines(path)


@cache
def _locked_lines(path: Path) -> dict[str, tuple[str, ...]]:
    sections: dict[str, tuple[str, ...]] = {}
    name = ""
    for line in path.read_text().splitlines():
        if line.startswith("["):
            name = line.strip("[]")
            sections[name] = ()
        elif line and not line.startswith("#"):
            sections[name] += (line,)
    return sections


def fetch_debs(section: str) -> list[Path]:
    """Return the package files of a section, in the order of the lock; download those that are missing.

    Raises:
        SystemExit: the archive no longer has a version, or a file is not the locked one.
    """
    folder = STORE / "debs"
    folder.mkdir(parents=True, exist_ok=True)
    locked = [_parse(line) for line in locked_lines(PACKAGES)[section]]
    missing = [one for one in locked if not list(folder.glob(f"{one.file_name}*.deb"))]
    if missing:
        wanted = [f"{one.name}={one.version}" for one in missing]
        done = subprocess.run(["apt-get", "download", "-qq", *wanted], cwd=folder, check=False)
        if done.returncode != 0:
            raise SystemExit(
                "apt-get cannot download the locked packages (run apt-get update; if the archive has newer versions: "
                "python -m bench.start.packages)"
            )
    return [_checked(folder, one) for one in locked]


def _checked(folder: Path, package: Locked) -> Path:
    path = next(folder.glob(f"{package.file_name}*.deb"))
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 != package.sha256:
        raise SystemExit(f"{path}: got sha256 {sha256}, want {package.sha256}; remove the file and try again")
    return path


def _parse(line: str) -> Locked:
    pin, sha256 = line.split()
    name, version = pin.split("=", 1)
    return Locked(name=name, version=version, sha256=sha256)


def fetch_wheels(section: str) -> list[Path]:
    """Return the wheels of a section, in the order of the lock; pip checks their hashes."""
    folder = STORE / "wheels" / section
    platforms = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_24", "manylinux_2_17", "manylinux2014")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "--only-binary=:all:", "--implementation=cp", "--python-version=3.11"]
    command += ["--abi=cp311", "--abi=abi3", "--abi=none", "--platform=any"]
    command += [f"--platform={platform}_x86_64" for platform in platforms]
    lines = locked_lines(WHEELS)[section]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirements:
        requirements.write("\n".join(lines))
        requirements.flush()
        subprocess.run([*command, f"--dest={folder}", f"--requirement={requirements.name}"], check=True)
    pins = [line.split()[0].split("==") for line in lines]
    return [next(folder.glob(f"{name.replace('-', '_')}-{version}-*.whl")) for name, version in pins]


def resolve(layers: Mapping[str, tuple[str, ...]], below: Mapping[str, Sequence[str]]) -> str:
    """Return the text of a new lock: what apt would install for each layer on top of those below it."""
    text = _HEAD
    for name, packages in layers.items():
        lower = [package for one in below[name] for package in layers[one]]
        closure = {line[0]: line for line in _closure([*lower, *packages])}
        there = {line[0] for line in _closure(lower)} if lower else set()
        text += f"\n[{name}]\n"
        text += _lock([closure[package] for package in sorted(closure.keys() - there)])
    return text


def _closure(packages: Sequence[str]) -> list[tuple[str, str]]:
    """Return name and version of all packages that apt would install on an empty system."""
    with tempfile.NamedTemporaryFile() as status:
        command = ["apt-get", "--print-uris", "--yes", "-qq", "-o", f"Dir::State::status={status.name}"]
        command += ["-o", f"APT::Default-Release={_RELEASE}", "-o", "APT::Install-Recommends=0", "install"]
        text = subprocess.run([*command, *packages], capture_output=True, text=True, check=True).stdout
    files = [line.split()[1].split("_") for line in text.splitlines()]
    return [(name, version.replace("%3a", ":")) for name, version, _ in files]


def _lock(packages: Sequence[tuple[str, str]]) -> str:
    pins = [f"{name}={version}" for name, version in packages]
    command = ["apt-cache", "show", *pins]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    hashes = [line.split()[1] for line in text.splitlines() if line.startswith("SHA256:")]
    return "".join(f"{pin} {sha256}\n" for pin, sha256 in zip(pins, hashes, strict=True))


def main() -> None:
    """Write packages.txt again."""
    from bench.start.layers import IMAGES  # noqa: PLC0415 - images read the lock

    layers: dict[str, tuple[str, ...]] = {}
    below: dict[str, list[str]] = {}
    for image in IMAGES.values():
        names = [layer.name for layer in image if layer.packages]
        for number, layer in enumerate(layer for layer in image if layer.packages):
            layers[layer.name], below[layer.name] = layer.packages, names[:number]
    PACKAGES.write_text(resolve(layers, below))


if __name__ == "__main__":
    main()
