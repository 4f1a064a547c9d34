from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated

import pytest
import typer

from soci.cli.option_groups import with_single_options

Name = Annotated[str, typer.Option("--name")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    name: Name


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(Base):
    size: Annotated[int, typer.Option("--size")] = 3


given: list[object] = []


def command(image: str, *, first: bool = False, options: Options, last: bool = True) -> None:
    """Do something."""
    given[:] = [image, first, options, last]


def test_the_fields_of_a_dataclass_take_the_place_of_its_parameter():
    parameters = inspect.signature(with_single_options(command)).parameters

    assert list(parameters) == ["image", "first", "name", "size", "last"]
    assert parameters["name"].default is inspect.Parameter.empty
    assert parameters["name"].annotation == Name
    assert parameters["size"].default == 3
    assert parameters["size"].kind is inspect.Parameter.KEYWORD_ONLY
    assert parameters["last"].default is True


def test_the_command_gets_the_dataclass():
    with_single_options(command)(image="app", first=True, name="x", size=4, last=False)

    assert given == ["app", True, Options(name="x", size=4), False]


def test_the_docstring_stays_as_it_is_the_help():
    assert with_single_options(command).__doc__ == "Do something."


def test_typer_reads_the_options():
    app = typer.Typer()
    app.command()(with_single_options(command))

    with pytest.raises(SystemExit) as end:
        app(["app", "--name", "x", "--size", "5"])

    assert end.value.code == 0
    assert given == ["app", False, Options(name="x", size=5), True]
