"""Synthesize the stack with the CDK for this machine: a template, and the folders of its functions."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.system.template import Resource, Template, UnknownValue

Json = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function of the template with everything needed to run it."""

    logical_id: str
    name: str
    handler: str
    folder: Path
    layers: tuple[Path, ...]
    environment: Mapping[str, str] = field(repr=False)
    timeout_seconds: int
    memory_mib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """The resolved template and its functions."""

    template: Template
    functions: tuple[Function, ...]


def synthesize(context: Mapping[str, Json], directory: Path) -> Deployment:
    """Synthesize the stack with this CDK context into a directory, and resolve it.

    Raises:
        InvalidConfig: the context has an unknown key or a wrong value.
    """
    # aws_cdk looks for Node.js on the path at import; it is beside the Python interpreter.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    from aws_cdk import App  # noqa: PLC0415

    from infra.config import StackConfig  # noqa: PLC0415
    from infra.packaging import ASSETS_DIR, build_assets, this_machine  # noqa: PLC0415
    from infra.stack import SociStack  # noqa: PLC0415

    # Assets are used in place; the copies for an upload are not needed.
    app = App(outdir=str(directory), context={"aws:cdk:disable-asset-staging": True})
    config = StackConfig.from_context(context)
    assets = build_assets(ASSETS_DIR, target=this_machine())
    SociStack(app, config=config, assets=assets)
    app.synth()
    return read_assembly(directory, stack_name=config.stack_name)


def read_assembly(directory: Path, *, stack_name: str, artifact: str = "Soci") -> Deployment:
    """Read the template and the asset folders of a cloud assembly."""
    template = Template(
        json.loads((directory / f"{artifact}.template.json").read_text()), stack_name=stack_name
    )
    manifest = json.loads((directory / f"{artifact}.assets.json").read_text())
    assets = {
        destination["objectKey"]: (directory / file["source"]["path"]).resolve()
        for file in manifest["files"].values()
        for destination in file["destinations"].values()
    }
    functions = tuple(
        _function(resource, template, assets) for resource in template.of_type("AWS::Lambda::Function")
    )
    return Deployment(template=template, functions=functions)


def _function(resource: Resource, template: Template, assets: Mapping[str, Path]) -> Function:
    properties = resource.properties
    layers = [template.by_arn(arn) for arn in properties.get("Layers", ())]
    return Function(
        logical_id=resource.logical_id,
        name=resource.name,
        handler=properties["Handler"],
        folder=_folder(resource.logical_id, properties["Code"], assets),
        layers=tuple(_folder(layer.logical_id, layer.properties["Content"], assets) for layer in layers),
        environment=properties.get("Environment", {}).get("Variables", {}),
        timeout_seconds=properties.get("Timeout", 3),
        memory_mib=properties.get("MemorySize", 128),
    )


def _folder(logical_id: str, code: Mapping[str, Json], assets: Mapping[str, Path]) -> Path:
    key = code.get("S3Key")
    if key not in assets:
        raise UnknownValue(f"{logical_id}: no asset with the key {key}")
    return assets[str(key)]
