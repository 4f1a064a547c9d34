"""The fields of an ECS task definition that decide how images are loaded (ECS API, `RegisterTaskDefinition`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from soci.errors import InvalidRequest
from soci.oci.json_value import JsonValue
from soci.oci.platform import Platform

_ARCHITECTURES = {"X86_64": "amd64", "ARM64": "arm64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerDefinition:
    """One container of a task."""

    name: str
    image: str
    """As written in the task definition; may be a placeholder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDefinition:
    """The containers of a task, and where they run."""

    family: str
    platform: Platform
    """Every Windows family becomes the operating system `windows`."""
    launch_types: tuple[str, ...]
    """The launch types that it requires compatibility with; empty if it names none."""
    containers: tuple[ContainerDefinition, ...]

    @property
    def is_for_fargate(self) -> bool:
        """Whether the task may run on Fargate."""
        return not self.launch_types or "FARGATE" in self.launch_types

    def only(self, names: Collection[str]) -> TaskDefinition:
        """Return the task with only the named containers."""
        return replace(self, containers=tuple(one for one in self.containers if one.name in names))


def parse_task_definition(document: object) -> TaskDefinition:
    """Parse a task definition, as registered or as `aws ecs describe-task-definition` prints it.

    Raises:
        InvalidRequest: names every field that is missing or has the wrong type.
    """
    problems: list[str] = []
    if isinstance(document, Mapping) and isinstance(inner := document.get("taskDefinition"), Mapping):
        document = inner
    task = JsonValue(document, "", problems)
    if not task.is_object():
        raise InvalidRequest(f"task definition: {problems[0]}")
    definition = TaskDefinition(
        family=str(task.member("family").value or ""),
        platform=_parse_platform(task.member("runtimePlatform")),
        launch_types=_parse_launch_types(task.member("requiresCompatibilities")),
        containers=_parse_containers(task.member("containerDefinitions")),
    )
    if problems:
        raise InvalidRequest(f"task definition: {'; '.join(problems)}")
    return definition


def _parse_platform(runtime: JsonValue) -> Platform:
    if runtime.value:
        runtime.is_object()
    family = runtime.member("operatingSystemFamily").text("a name") or "LINUX"
    name = runtime.member("cpuArchitecture")
    wanted = f"one of {', '.join(_ARCHITECTURES)}"
    architecture = name.text(wanted) or "X86_64"
    if architecture not in _ARCHITECTURES:
        name.refuse(wanted)
        architecture = "X86_64"
    system = "windows" if family.startswith("WINDOWS") else "linux"
    return Platform(os=system, architecture=_ARCHITECTURES[architecture])


def _parse_launch_types(listed: JsonValue) -> tuple[str, ...]:
    names = tuple(one.value for one in listed.items() if isinstance(one.value, str))
    is_valid = isinstance(listed.value, list) and len(names) == len(listed.value)
    if listed.value and not is_valid:
        listed.refuse("a list of names")
    return names


def _parse_containers(listed: JsonValue) -> tuple[ContainerDefinition, ...]:
    if not listed.items():
        listed.refuse("a list with at least one container")
    return tuple(
        ContainerDefinition(name=_parse_text(one.member("name")), image=_parse_text(one.member("image")))
        for one in listed.items()
        if one.is_object()
    )


def _parse_text(value: JsonValue) -> str:
    """Parse a text, which is required."""
    text = value.text("text")
    if value.value in (None, ""):
        value.refuse("text")
    return text
