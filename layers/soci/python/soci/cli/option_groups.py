"""Dataclasses of options: a command takes one value where the command line has many options.

    def convert(image: ImageArgument, *, options: IndexOptions) -> None

Typer builds a command line from a signature. It gets one with the fields of `IndexOptions` in place of `options`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, get_type_hints


def with_single_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command with one parameter for each field of the dataclasses that `command` takes.

    The fields are keyword-only, with typer's annotations.
    """
    signature = inspect.signature(command, eval_str=True)
    groups: dict[str, Any] = {
        name: parameter.annotation
        for name, parameter in signature.parameters.items()
        if is_dataclass(parameter.annotation)
    }

    def run(**values: object) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        command(**values)

    run.__doc__ = command.__doc__
    run.__signature__ = signature.replace(parameters=list(_parameters(signature)))  # type: ignore[attr-defined]
    return run


def _parameters(signature: inspect.Signature) -> Iterator[inspect.Parameter]:
    for parameter in signature.parameters.values():
        if not is_dataclass(parameter.annotation):
            yield parameter
            continue
        hints = get_type_hints(parameter.annotation, include_extras=True)
        for field in fields(parameter.annotation):
            default = inspect.Parameter.empty if field.default is MISSING else field.default
            yield inspect.Parameter(field.name, parameter.kind, default=default, annotation=hints[field.name])
