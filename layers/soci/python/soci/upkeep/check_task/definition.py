"""The fields of an ECS task definition that decide how images are loaded (ECS API, `RegisterTaskDefinition`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from soci.errors import InvalidRequest
from soci.oci.platform import Platform

_ARCHITECTURES = {"X86_64": "amd64", "ARM64": "arm64"}
_SHOWN_CHARACTERS = 60


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
    if not isinstance(document, Mapping):
        raise InvalidRequest(f"task definition: got {_shown(document)}, want an object")
    runtime = document.get("runtimePlatform") or {}
    if not isinstance(runtime, Mapping):
        problems.append(f"runtimePlatform: got {_shown(runtime)}, want an object")
        runtime = {}
    launch_types = document.get("requiresCompatibilities") or ()
    if not isinstance(launch_types, list | tuple) or not all(isinstance(one, str) for one in launch_types):
        problems.append(f"requiresCompatibilities: got {_shown(launch_types)}, want a list of names")
        launch_types = ()
    definition = TaskDefinition(
        family=str(document.get("family") or ""),
        platform=_parse_platform(runtime, problems),
        launch_types=tuple(launch_types),
        containers=_parse_containers(document.get("containerDefinitions"), problems),
    )
    if problems:
        raise InvalidRequest(f"task definition: {'; '.join(problems)}")
    return definition


def _parse_platform(runtime: Mapping[str, object], problems: list[str]) -> Platform:
    family = runtime.get("operatingSystemFamily") or "LINUX"
    architecture = runtime.get("cpuArchitecture") or "X86_64"
    if not isinstance(family, str):
        problems.append(f"runtimePlatform.operatingSystemFamily: got {_shown(family)}, want a name")
        family = "LINUX"
    if not isinstance(architecture, str) or architecture not in _ARCHITECTURES:
        wanted = ", ".join(_ARCHITECTURES)
        problems.append(f"runtimePlatform.cpuArchitecture: got {_shown(architecture)}, want one of {wanted}")
        architecture = "X86_64"
    system = "windows" if family.startswith("WINDOWS") else "linux"
    return Platform(os=system, architecture=_ARCHITECTURES[architecture])


def _parse_containers(listed: object, problems: list[str]) -> tuple[ContainerDefinition, ...]:
    if not isinstance(listed, list) or not listed:
        problems.append(
            f"containerDefinitions: got {_shown(listed)}, want a list with at least one container"
        )
        return ()
    containers = []
    for number, one in enumerate(listed):
        path = f"containerDefinitions[{number}]"
        if not isinstance(one, Mapping):
            problems.append(f"{path}: got {_shown(one)}, want an object")
            continue
        texts = {key: one.get(key) for key in ("name", "image")}
        wrong = [key for key, text in texts.items() if not isinstance(text, str) or not text]
        problems += [f"{path}.{key}: got {_shown(texts[key])}, want text" for key in wrong]
        containers.append(ContainerDefinition(name=str(texts["name"]), image=str(texts["image"])))
    return tuple(containers)


def _shown(value: object) -> str:
    return "nothing" if value is None else repr(value)[:_SHOWN_CHARACTERS]
