from __future__ import annotations

import os
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Thread

import pytest

from local.lambda_runtime import LambdaError, LambdaProcess


@pytest.fixture
def start(tmp_path):
    started: list[LambdaProcess] = []

    def start(source, **options):
        folder = tmp_path / f"function-{len(started)}"
        folder.mkdir()
        (folder / "handler.py").write_text(textwrap.dedent(source))
        process = LambdaProcess(handler="handler.handler", function_dir=folder, **options)
        started.append(process)
        return process

    yield start
    for process in started:
        process.close()


COUNTS = """
    import os
    calls = 0
    def handler(event, context):
        global calls
        calls += 1
        return {"calls": calls, "event": event, "pid": os.getpid()}
"""


def test_an_invocation_returns_the_answer_of_the_handler(start):
    answer = start(COUNTS).invoke({"repository": "Grün", "layers": [1, None]})

    assert answer["event"] == {"repository": "Grün", "layers": [1, None]}


def test_the_process_stays_warm_between_events(start):
    process = start(COUNTS)

    first, second = process.invoke({}), process.invoke({})

    assert (first["calls"], second["calls"]) == (1, 2)
    assert first["pid"] == second["pid"] != os.getpid()


def test_events_of_several_threads_take_turns(start):
    process = start(COUNTS)
    answers = []
    threads = [Thread(target=lambda: answers.append(process.invoke({})["calls"])) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(answers) == [1, 2, 3, 4, 5]


def test_the_context_has_the_request_id_the_remaining_time_and_the_function(start):
    process = start(
        """
        import os
        def handler(event, context):
            return {
                "id": context.aws_request_id,
                "arn": context.invoked_function_arn,
                "left": context.get_remaining_time_in_millis(),
                "name": context.function_name,
                "memory": context.memory_limit_in_mb,
                "trace": os.environ["_X_AMZN_TRACE_ID"],
            }
        """,
        name="image-filter",
        timeout_seconds=30,
        memory_mib=512,
        environment={"AWS_REGION": "eu-central-1"},
    )

    one, two = process.invoke({}), process.invoke({})

    assert one["id"] != two["id"]
    assert one["arn"] == "arn:aws:lambda:eu-central-1:123456789012:function:image-filter"
    assert one["name"] == "image-filter"
    assert one["memory"] == "512"
    assert 20_000 < one["left"] <= 30_000
    assert one["trace"].startswith("Root=1-")


def test_a_process_sees_only_its_own_folders_and_variables(start, tmp_path, monkeypatch):
    monkeypatch.setenv("NOT_FOR_FUNCTIONS", "1")
    (tmp_path / "layer" / "python").mkdir(parents=True)
    (tmp_path / "layer" / "python" / "from_layer.py").write_text("value = 7")
    process = start(
        """
        import importlib.util, os, from_layer
        def handler(event, context):
            found = [name for name in event if importlib.util.find_spec(name)]
            return {"found": found, "layer": from_layer.value, "variables": dict(os.environ)}
        """,
        layer_dirs=[tmp_path / "layer"],
        environment={"SOCI_REGISTRY": "127.0.0.1:5000"},
    )

    answer = process.invoke(["json", "soci", "boto3", "pytest", "tests", "local"])

    assert answer["found"] == ["json"]
    assert answer["layer"] == 7
    assert answer["variables"]["SOCI_REGISTRY"] == "127.0.0.1:5000"
    assert "NOT_FOR_FUNCTIONS" not in answer["variables"]


def test_running_does_not_change_the_built_folders(start, tmp_path):
    start(COUNTS).invoke({})

    assert [path.name for path in (tmp_path / "function-0").rglob("*")] == ["handler.py"]


def test_an_error_of_the_handler_carries_its_class_message_and_frames(start):
    process = start(
        """
        class DigestMismatch(Exception): pass
        calls = 0
        def handler(event, context):
            global calls
            calls += 1
            if event: raise DigestMismatch("layer 3: got a, want b")
            return calls
        """
    )

    with pytest.raises(LambdaError) as caught:
        process.invoke({"fail": True})

    assert caught.value.error_type == "DigestMismatch"
    assert caught.value.message == "layer 3: got a, want b"
    assert "in handler" in caught.value.stack[-1]
    assert process.invoke({}) == 2, "the process is kept, as in Lambda"


def test_an_error_has_the_shape_of_lambdas_own_payload():
    error = LambdaError("BlobMissing", "gone", ("frame",))

    assert error.to_payload() == {"errorType": "BlobMissing", "errorMessage": "gone", "stackTrace": ["frame"]}


def test_a_handler_that_times_out_is_ended_and_the_next_event_starts_a_new_process(start):
    process = start(
        """
        import os, time
        def handler(event, context):
            time.sleep(event)
            return os.getpid()
        """,
        timeout_seconds=0.4,
    )
    first = process.invoke(0)
    began = time.monotonic()

    with pytest.raises(LambdaError, match=r"Task timed out after 0\.40 seconds") as caught:
        process.invoke(30)

    assert caught.value.error_type == "Sandbox.Timedout"
    assert time.monotonic() - began < 10
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    assert process.invoke(0) != first


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("os._exit(3)", "exit status 3"),
        ("os.kill(os.getpid(), 9)", "signal: Killed"),
        ("sys.exit(0)", "exit status 0"),
    ],
    ids=["exit", "kill", "sys-exit"],
)
def test_a_process_that_exits_fails_the_event(start, end, said):
    process = start(f"import os, sys\ndef handler(event, context): {end}")

    with pytest.raises(LambdaError, match=said) as caught:
        process.invoke({})

    assert caught.value.error_type == "Runtime.ExitError"


@pytest.mark.parametrize(
    ("source", "error_type", "said"),
    [
        ("import nowhere", "Runtime.ImportModuleError", "No module named 'nowhere'"),
        ("def handler(:", "Runtime.UserCodeSyntaxError", "Syntax error"),
        ("raise ValueError('SOCI_SETTINGS: missing')", "ValueError", "SOCI_SETTINGS: missing"),
        ("other = 1", "Runtime.HandlerNotFound", "handler"),
    ],
    ids=["no-module", "syntax", "raises", "no-handler"],
)
def test_a_failed_import_is_explained_each_time(start, source, error_type, said):
    process = start(source)

    for _ in range(2):
        with pytest.raises(LambdaError, match=said) as caught:
            process.invoke({})
        assert caught.value.error_type == error_type


def test_an_import_that_never_ends_is_ended(start):
    process = start("import time\ntime.sleep(30)", init_timeout_seconds=0.5)

    with pytest.raises(LambdaError) as caught:
        process.invoke({})

    assert caught.value.error_type == "Sandbox.Timedout"


def test_an_answer_over_the_limit_of_lambda_is_refused(start):
    process = start("def handler(event, context): return 'x' * event")
    assert len(process.invoke(6 << 20)) == 6 << 20

    with pytest.raises(LambdaError, match="exceeded maximum allowed payload size") as caught:
        process.invoke(6 << 20 | 100)

    assert caught.value.error_type == "Function.ResponseSizeTooLarge"


def test_logs_hold_both_streams_of_all_processes(start):
    process = start(
        """
        import os, sys
        def handler(event, context):
            print("told")
            print("warned", file=sys.stderr)
            if event: os._exit(1)
        """
    )

    process.invoke({})
    with pytest.raises(LambdaError):
        process.invoke({"end": True})

    assert [line for line in process.logs if line in ("told", "warned")] == ["told", "warned"] * 2


def test_nothing_is_left_after_closing(start):
    process = start("import os\ndef handler(event, context): return os.getpid()")
    pid = process.invoke({})

    process.close()

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_closing_ends_an_event_that_is_still_running(start, tmp_path):
    process = start(
        """
        import pathlib, time
        def handler(event, context):
            pathlib.Path(event).touch()
            time.sleep(60)
        """
    )
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(process.invoke, str(tmp_path / "reached"))
        wait_until((tmp_path / "reached").exists)
        process.close()

        with pytest.raises(LambdaError, match="signal: Killed"):
            answer.result(timeout=10)
    with pytest.raises(RuntimeError, match="closed"):
        process.invoke("again")


def wait_until(happened, *, timeout_seconds=20):
    deadline = time.monotonic() + timeout_seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("how", "error_type", "said"),
    [
        ("kill", "Runtime.ExitError", "signal: Killed"),
        ("let_time_run_out", "Sandbox.Timedout", "timed out after 900.00 seconds"),
    ],
)
def test_a_requested_timeout_ends_an_event_and_the_next_one_starts_a_new_process(
    start, tmp_path, how, error_type, said
):
    process = start(
        """
        import os, pathlib, time
        def handler(event, context):
            if event is None:
                return os.getpid()
            pathlib.Path(event).touch()
            time.sleep(60)
        """
    )
    before = process.invoke(None)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(process.invoke, str(tmp_path / "reached"))
        wait_until((tmp_path / "reached").exists)
        getattr(process, how)()

        with pytest.raises(LambdaError, match=said) as caught:
            answer.result(timeout=10)

    assert caught.value.error_type == error_type
    assert process.invoke(None) != before
