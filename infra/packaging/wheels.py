"""Install the locked wheels for a target with pip: the dependency layer."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from infra.packaging.compiled import misfit_of
from infra.packaging.failures import PackagingFailed
from infra.packaging.target import Target
from infra.packaging.tree import files_in

_SERVICES = {"dynamodb", "ecr", "events", "kms"}
"""The AWS services that the functions call. boto3 describes 400 services in 18 MiB."""

_NOTES_OF_PIP = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}
"""Files that pip adds to a package's own METADATA and licences."""


def install_wheels(lock: Path, *, target: Target, into: Path) -> None:
    """Install the locked packages into a folder: wheels for the target only, hashes checked.

    Raises:
        PackagingFailed: pip cannot get a wheel, or a compiled file does not run on the target.
    """
    _run_pip(lock, target, into)
    _strip(into)
    for misfit in filter(None, (misfit_of(file, target) for file in files_in(into))):
        raise PackagingFailed(misfit)


def _run_pip(lock: Path, target: Target, into: Path) -> None:
    command = [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"),
        *("--no-compile", "--only-binary", ":all:", "--require-hashes", "--retries", "2"),
        # pip would evaluate markers for this interpreter. The lock is complete for the target.
        "--no-deps",
        *("--target", str(into), "--requirement", str(lock)),
    ]
    if target.platform_tags:
        command += ["--implementation", "cp", "--python-version", target.python_version]
        command += [f"--platform={tag}" for tag in target.platform_tags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ours throughout
    if done.returncode != 0:
        said = "\n".join(f"    {line}" for line in done.stderr.strip().splitlines()[-6:])
        raise PackagingFailed(
            f"The dependency layer for {target.name} cannot be built from {lock}. pip said:\n{said}\n"
            "Wheels come from the package index that `pip config list` names, else from PyPI. If it cannot be reached,"
            " run `make layers` once with a network: the build is kept in .layers, and later synths need no network."
            " If pip itself is missing: python -m ensurepip."
        )


def _strip(folder: Path) -> None:
    # Scripts contain the path of this interpreter.
    shutil.rmtree(folder / "bin", ignore_errors=True)
    # The unused second engine has 10 MiB and needs cffi.
    for engine in folder.glob("zstandard/_cffi.*"):
        engine.unlink()
    for info in folder.glob("*.dist-info"):
        for name in _NOTES_OF_PIP:
            (info / name).unlink(missing_ok=True)
    for service in folder.glob("botocore/data/*/"):
        if service.is_dir() and service.name not in _SERVICES:
            shutil.rmtree(service)
