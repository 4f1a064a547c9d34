from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.architecture.source import ROOT
from tests.conftest import NetworkUsed


@pytest.fixture
def guarded(pytester):
    """A run of pytest of its own, under this project's conftest."""
    pytester.makeconftest((ROOT / "tests/conftest.py").read_text())
    return pytester


@pytest.mark.parametrize(
    "source",
    [
        "import pytest\ndef test_it():\n    pytest.skip('no skopeo here')\n",
        "import pytest\n@pytest.mark.skip(reason='no skopeo here')\ndef test_it():\n    assert True\n",
        "import pytest\n@pytest.mark.skipif(1, reason='no skopeo here')\ndef test_it():\n    assert True\n",
        "import pytest\npytest.skip('no skopeo here', allow_module_level=True)\n",
        "import pytest\nskopeo = pytest.importorskip('skopeo', reason='no skopeo here')\n",
    ],
    ids=["call", "mark", "condition", "module", "import"],
)
def test_a_skipped_test_fails_the_run_and_says_why(guarded, source):
    guarded.makepyfile(source)

    result = guarded.runpytest_subprocess()

    assert result.ret != pytest.ExitCode.OK
    assert "skipped" not in result.parseoutcomes()
    result.stdout.fnmatch_lines(["*A skipped test counts as failed here.*no skopeo here*"])


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


@pytest.mark.parametrize(
    "line",
    [
        "logging.getLogger('some.library').debug('got %s', token)",
        "logging.info('Authorization: Basic bWU6bm90LXRvLWJlLXNlZW4=')",
        "print('token=' + token + '.')",
        "print(base64.b64encode(('AWS:' + token).encode()).decode())",
        "SociError(f'refused {token}')",
        "SociError('https://h/layer?X-Amz-Signature=0')",
        "RegistryError('not-to-be-seen', status=1)",
    ],
    ids=["log", "header", "output", "encoded", "caught error", "signed address", "error"],
)
def test_a_test_fails_when_a_credential_is_told(guarded, line):
    guarded.makepyfile(
        "import base64, logging, pytest, secrets\n"
        "from soci.errors import RegistryError, SociError\n"
        f"def test_it():\n    token = secrets.token_urlsafe(48)\n    {line}\n"
    )

    result = guarded.runpytest_subprocess()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["A credential is told:", "*[*][*][*]*"])


def test_a_test_may_have_a_credential_and_say_nothing_of_it(guarded):
    guarded.makepyfile(
        "import logging, secrets\nfrom soci.errors import SociError\n"
        "def test_it():\n    token = secrets.token_urlsafe(48)\n    logging.debug('got a token')\n"
        "    SociError('status 401: Bearer realm=\\'h\\'')\n    assert token\n"
    )

    guarded.runpytest_subprocess().assert_outcomes(passed=1)
