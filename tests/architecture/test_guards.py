from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.architecture.source import ROOT
from tests.conftest import NetworkUsed


@pytest.fixture
def guarded(pytester):
    """A separate run of pytest with this project's conftest."""
    pytester.makeconftest((ROOT / "tests/conftest.py").read_text())
    return pytester


SKIPPED = {
    "call": "import pytest\ndef test_it():\n    pytest.skip('no skopeo here')\n",
    "mark": "import pytest\n@pytest.mark.skip(reason='no skopeo here')\ndef test_it():\n    assert True\n",
    "condition": (
        "import pytest\n@pytest.mark.skipif(1, reason='no skopeo here')\ndef test_it():\n    assert True\n"
    ),
    "module": "import pytest\npytest.skip('no skopeo here', allow_module_level=True)\n",
    "import": "import pytest\nskopeo = pytest.importorskip('skopeo', reason='no skopeo here')\n",
}


def test_a_skipped_test_fails_the_run_and_says_why(guarded):
    guarded.makepyfile(**{f"test_{name}": source for name, source in SKIPPED.items()})

    result = guarded.runpytest_subprocess("--continue-on-collection-errors")

    assert result.ret != pytest.ExitCode.OK
    result.assert_outcomes(failed=1, errors=4)  # a mark counts as an error of the set-up
    said = [line for line in result.outlines if "A skipped test counts as failed here." in line]
    assert len([line for line in said if line.endswith("no skopeo here")]) >= len(SKIPPED)


def test_a_run_whose_only_test_is_skipped_fails(guarded):
    guarded.makepyfile(SKIPPED["import"])

    result = guarded.runpytest_subprocess()

    assert result.ret != pytest.ExitCode.OK
    assert "skipped" not in result.parseoutcomes()


def test_an_expected_failure_is_not_taken_for_a_skip(guarded):
    guarded.makepyfile("import pytest\n@pytest.mark.xfail\ndef test_it():\n    assert False\n")

    result = guarded.runpytest_subprocess()

    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(xfailed=1)


@pytest.mark.parametrize("method", ["connect", "connect_ex"])
@pytest.mark.parametrize("host", ["192.0.2.1", "registry.invalid"])
def test_a_test_cannot_reach_another_machine(method, host):
    with socket.socket() as client, pytest.raises(NetworkUsed, match=host):
        getattr(client, method)((host, 443))


def test_a_test_can_reach_its_own_machine():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.connect(server.getsockname())

        assert client.getpeername() == server.getsockname()


def test_no_setting_or_credential_of_the_caller_reaches_the_tests():
    ours = {"AWS_EC2_METADATA_DISABLED"}
    assert {name for name in os.environ if name.startswith(("SOCI_", "AWS_", "DOCKER_"))} == ours
    assert not (Path.home() / ".docker").exists()


def test_the_settings_of_the_caller_are_removed_and_not_just_absent(guarded, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "someone")
    guarded.makepyfile("import os\ndef test_it():\n    assert 'AWS_PROFILE' not in os.environ\n")

    guarded.runpytest_subprocess().assert_outcomes(passed=1)


TOLD = {
    "log": "logging.getLogger('some.library').debug('got %s', token)",
    "header": "logging.info('Authorization: Basic bWU6bm90LXRvLWJlLXNlZW4=')",
    "output": "print('token=' + token + '.')",
    "encoded": "print(base64.b64encode(('AWS:' + token).encode()).decode())",
    "caught_error": "SociError(f'refused {token}')",
    "signed_address": "SociError('https://h/layer?X-Amz-Signature=0')",
    "error": "RegistryError('not-to-be-seen', status=1)",
}
TELLING_NOTHING = "logging.debug('got a token'); SociError('status 401: Bearer realm=\\'h\\''); assert token"


def test_a_test_that_logs_or_prints_a_credential_fails_and_no_other(guarded):
    guarded.makepyfile(
        "import base64, logging, pytest, secrets\n"
        "from soci.errors import RegistryError, SociError\n"
        + "".join(
            f"def test_{name}():\n    token = secrets.token_urlsafe(48)\n    {line}\n"
            for name, line in (TOLD | {"nothing": TELLING_NOTHING}).items()
        )
    )

    result = guarded.runpytest_subprocess()

    result.assert_outcomes(failed=len(TOLD), passed=1)
    assert result.outlines.count("A credential is told:") == len(TOLD)
    assert len([line for line in result.outlines if line.count("***") == 1]) >= len(TOLD)
    failed = {line.rpartition("::test_")[2].partition(" ")[0] for line in result.outlines if "FAILED" in line}
    assert failed == TOLD.keys()
