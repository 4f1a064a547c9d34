"""A registry that takes requests and never answers: the workflow tries again, as it does after other failures."""

from __future__ import annotations

from typing import Any

import pytest

from local.lambda_runtime import LambdaProcess
from local.registry import Harm
from local.system.record import Status
from local.system.system import LocalSystem
from tests.e2e.faults import DECIDING, PUBLISHING
from tests.e2e.service import NO_RATES, Service, an_image, assert_sound, converted, put, settings

HANGS = 3
"""More often than a call is repeated that Lambda had to end."""


@pytest.fixture
def _impatient(monkeypatch):
    """No deployment may have so short a timeout; a test need not wait for longer."""

    def process(**how: Any) -> LambdaProcess:
        is_hit = any(name in how["name"] for name in ("ImageFilter", "PublishIndex"))
        return LambdaProcess(**how | ({"timeout_seconds": 4} if is_hit else {}))

    monkeypatch.setattr("local.system.system.LambdaProcess", process)


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(
    ("where", "state"), [(DECIDING, "Filter"), (PUBLISHING, "Publish")], ids=["filter", "publisher"]
)
def test_a_function_gives_up_on_a_registry_that_hangs_and_is_retried(where, state, tmp_path):
    with LocalSystem(settings=settings(), behaviour=NO_RATES, time_scale=0.0005) as system:
        service = Service(system, tmp_path)
        image = an_image("hang", sizes=(150_000,))
        put(service.repository("hang"), image, "1.0")
        system.registry.fail(Harm.HANG, where=where, times=HANGS)

        [execution, *_] = service.since(lambda: system.start_index({"repository": "hang", "tag": "1.0"}))

        assert execution.status is Status.SUCCEEDED, (execution.run.error, execution.run.cause)
        assert execution.output["v2"]["digest"] == converted(service.layout(image))
        calls = {visit.state: visit.calls for _, visit in execution.run.walk()}
        assert calls[state] == HANGS + 1
        assert_sound(system, ["hang"])
