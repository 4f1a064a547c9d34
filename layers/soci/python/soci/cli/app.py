"""The command line `soci-index`.

Exit status: 0 done, 1 refused or failed, 2 a usage error, 130 interrupted.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from importlib import import_module
from keyword import iskeyword
from pathlib import Path
from typing import Annotated

import typer

from soci import __version__
from soci.cli.option_groups import with_single_options
from soci.cli.terminal import print_error, print_json
from soci.errors import InvalidOption, InvalidReference, SociError
from soci.layer.inflate import default_engine
from soci.layer.worker import switch_threads_often

PROGRAM = "soci-index"

USAGE_ERROR = 2
FAILED = 1
INTERRUPTED = 130

COMMANDS: Mapping[str, str | Mapping[str, str]] = {
    "ztoc": "ztoc",
    "create": "convert",
    "convert": "convert",
    "plan": "plan",
    "inspect": "inspect",
    "ls": "files",
    "cat": "files",
    "mount": "mount",
    "verify": "verify",
    "remove": "remove",
    "decide": "decide",
    "status": "status",
    "wait": "wait",
    "check-task": "check_task",
    "clean": "clean",
    "estimate": "estimate",
    "profile": {
        "import": "profile_import",
        "merge": "profile_merge",
        "show": "profile_show",
        "push": "profile_push",
        "pull": "profile_pull",
    },
    "advise": "advise",
}
"""The module of each command, in the order of the help; for a group, those of its commands."""

_GROUPS = {
    "profile": "What a container reads when it starts: start profiles, recorded and used (docs/profiles.md)."
}

_new_typer = partial(typer.Typer, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
app = _new_typer(name=PROGRAM, no_args_is_help=True)


def _print_version(value: bool) -> None:  # noqa: FBT001 - the shape of a typer callback
    if value:
        engine = default_engine()
        sys.stdout.write(f"{PROGRAM} {__version__} ({engine.name} {engine.version})\n")
        raise typer.Exit


@app.callback()
def _common(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print version and inflate engine."
        ),
    ] = False,
) -> None:
    """Build, inspect and verify SOCI indexes: container images that start before they are downloaded."""


class _Commands(Mapping[str, object]):
    """The commands by name. The module of a command is imported when the command is looked up."""

    def __init__(self, modules: Mapping[str, str | Mapping[str, str]]) -> None:
        self._modules = modules

    def __getitem__(self, name: str) -> object:
        module = self._modules[name]
        alone = _new_typer(no_args_is_help=True)
        if not isinstance(module, str):
            alone.callback(help=_GROUPS[name])(lambda: None)
            group = typer.main.get_group(alone)
            group.commands = _Commands(module)  # type: ignore[assignment]  # it is only read
            return group
        function = name.replace("-", "_") + "_" * iskeyword(name)
        alone.command(name)(with_single_options(getattr(import_module(f"soci.cli.{module}"), function)))
        return typer.main.get_command(alone)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)


def main() -> None:
    """Run the command with the arguments of this process, and exit with its status."""
    with Path(os.devnull).open("w") as nowhere:
        sys.stdout = sys.stdout or nowhere  # None if the parent process closed it
        sys.stderr = sys.stderr or nowhere
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may not fit the locale
        switch_threads_often()
        signal.signal(signal.SIGTERM, _end_on_signal)
        run(sys.argv[1:])


def _end_on_signal(number: int, _: object) -> None:
    """Exit as after an error: partial files are removed."""
    raise SystemExit(128 + number)


def run(arguments: list[str]) -> None:
    """Run a command line and exit with its status."""
    try:
        status = _status_of(arguments)
        sys.stdout.flush()
    except OSError as error:
        # Python flushes again at its exit and would report the error twice.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = FAILED
        if not isinstance(error, BrokenPipeError):  # no error: the reader has closed its end
            print_error(str(error))
    sys.exit(status)


def _status_of(arguments: list[str]) -> int:
    """Run a command; turn an error into a message and an exit status."""
    try:
        group = typer.main.get_group(app)
        group.commands = _Commands(COMMANDS)  # type: ignore[assignment]  # it is only read
        group(arguments, prog_name=PROGRAM)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else FAILED
        if status == INTERRUPTED:
            print_error("interrupted")
        return status
    except SociError as error:
        if "--json" in arguments:
            print_json(
                {"error": {"type": type(error).__name__, "message": str(error), "retryable": error.retryable}}
            )
        print_error(str(error))
        return USAGE_ERROR if isinstance(error, InvalidOption | InvalidReference) else FAILED
    return 0
