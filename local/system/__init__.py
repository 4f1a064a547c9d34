"""The deployed system on one machine: the synthesized stack, its workflows, its functions, and a registry.

    with LocalSystem(settings={"rules": {"min_image_size_bytes": 0}}) as system:
        system.push(Path("layout"), "app", "1.0")           # the event arrives through the stack's own rule
        system.wait_idle()
        assert system.executions()[0].output["outcome"] == "indexed"

It runs what a deployment would run: the CDK's template with its state machines and event patterns, and the handlers
from packaged folders, each in a separate process. Nothing leaves the machine.
"""
