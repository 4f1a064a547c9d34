"""The deployed system on one machine: the synthesized stack, its workflows, its functions, and a registry.

    with LocalSystem(settings={"rules": {"min_image_size_bytes": 0}}) as system:
        system.push(Path("layout"), "app", "1.0")           # the event arrives through the stack's own rule
        system.wait_idle()
        assert system.executions()[0].output["outcome"] == "indexed"

What runs is what is deployed: the template as the CDK writes it, the state machine definitions in it, the event
patterns in it, and the handlers from packaged folders, each in a process of its own. Nothing leaves the machine.
"""
