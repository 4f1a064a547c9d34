"""Guards for every test: a clean environment, no network, repeatable examples, no skipped test, no leaked secret.

A test adds lines to `printed` to show them at the end of the run.
"""

from __future__ import annotations

import base64
import ipaddress
import logging
import os
import re
import secrets
import signal
import socket
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from soci.errors import SociError

# Node.js (for aws_cdk, already when it is imported) and the command soci-index lie beside the interpreter.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

# In the background of a shell Ctrl-C is ignored, and so it would be by the programs that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The gate runs the same examples each time; HYPOTHESIS_PROFILE=search looks for new ones.
settings.register_profile("ci", derandomize=True, max_examples=60, deadline=None, print_blob=True)
settings.register_profile("search", max_examples=5_000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


class NetworkUsed(Exception):
    """A test reached for an address outside this machine. Not an OSError, which code under test may catch."""


_OF_THE_CALLER = re.compile(r"SOCI_.*|AWS_.*|DOCKER_CONFIG|REGISTRY_AUTH_FILE|XDG_.*|.*_proxy", re.IGNORECASE)


@pytest.fixture(autouse=True, scope="session")
def clean_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No setting or credential of whoever runs the tests reaches them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if _OF_THE_CALLER.fullmatch(name):
                patch.delenv(name)
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")  # else boto3 looks for a login in the network
        yield


class Overheard(logging.Handler):
    """Collects all log lines from DEBUG on and the texts of our errors, and finds secrets in them.

    Registries of the tests make tokens and passwords with `secrets.token_urlsafe`; tests use a fixed word.
    """

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._texts: list[str] = []
        self._secrets = {"not-to-be-seen"}

    @contextmanager
    def listening(self) -> Iterator[None]:
        make_token = secrets.token_urlsafe

        def token_urlsafe(nbytes: int | None = None) -> str:
            token = make_token(nbytes)
            self._secrets |= {token, base64.b64encode(f"AWS:{token}".encode()).decode().rstrip("=")}
            return token

        def note(error: SociError, *arguments: object) -> None:
            self._texts.append(" ".join(map(str, arguments)))
            super(SociError, error).__init__(*arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(secrets, "token_urlsafe", token_urlsafe)
            patch.setattr(SociError, "__init__", note)
            logging.root.addHandler(self)
            patch.setattr(logging.root, "level", logging.DEBUG)
            yield
            logging.root.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self._texts.append(self.format(record))

    def leaks(self, *more: str) -> list[str]:
        """Return the lines with a secret since the last call, and those of further texts; stars replace the secret."""
        texts, self._texts = (*self._texts, *more), []
        lines = (line for text in texts for line in text.splitlines())
        return [masked for line in lines if (masked := self._masked(line)) != line]

    def _masked(self, line: str) -> str:
        masked = _CREDENTIAL.sub("***", line)
        for words in _WORDS:
            for word in self._secrets.intersection(words.findall(masked)):
                masked = masked.replace(word, "***")
        return masked


_CREDENTIAL = re.compile(
    r"\b(basic|bearer) [A-Za-z0-9+/=._~-]{12,}|X-Amz-Signature=\w+|not-to-be-seen", re.IGNORECASE
)
_WORDS = (re.compile(r"[A-Za-z0-9_-]{14,}"), re.compile(r"[A-Za-z0-9+/]{14,}"))
_OVERHEARD = Overheard()
_TESTS_OF_THE_REGISTRY = Path(__file__).parent / "unit/local"


@pytest.fixture(autouse=True, scope="session")
def overheard() -> Iterator[None]:
    """Log lines and errors are searched for secrets after each test."""
    with _OVERHEARD.listening():
        yield


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Iterator[None]:
    """Sockets of this process connect only to this machine."""

    def refuse_others(method: str):
        connect = getattr(socket.socket, method)

        def connect_within(self: socket.socket, address: tuple[str, int] | str | bytes):
            if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_here(address[0]):
                raise NetworkUsed(f"connection to {address!r}")
            return connect(self, address)

        return connect_within

    with pytest.MonkeyPatch.context() as patch:
        for method in ("connect", "connect_ex"):
            patch.setattr(socket.socket, method, refuse_others(method))
        yield


def _is_here(host: str | int) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


_WITHOUT_COVERAGE = (Path(__file__).parent / "e2e", Path(__file__).parent / "golden")
"""These start processes or feed layers byte by byte: tracing shows little there and slows them down."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(item.path.is_relative_to(folder) for folder in _WITHOUT_COVERAGE):
            item.add_marker("no_cover")


_PRINTED = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_PRINTED] = []


@pytest.fixture(scope="session")
def printed(pytestconfig: pytest.Config) -> list[str]:
    """Lines to print at the end of the run, from any process of it."""
    return pytestconfig.stash[_PRINTED]


def pytest_sessionfinish(session: pytest.Session) -> None:
    if (to_controller := getattr(session.config, "workeroutput", None)) is not None:
        to_controller["printed"] = session.config.stash[_PRINTED]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:  # of pytest-xdist, which has no types
    node.config.stash[_PRINTED] += getattr(node, "workeroutput", {}).get("printed", [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash[_PRINTED]:
        terminalreporter.write_line(line)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _fail_if_skipped(report)
    written = (report.capstdout, report.capstderr) if report.when == "call" else ()
    # Tests of the registry in memory ask it by boto3 itself, which logs what it likes.
    if (leaks := _OVERHEARD.leaks(*written)) and not item.path.is_relative_to(_TESTS_OF_THE_REGISTRY):
        report.outcome = "failed"
        report.sections.clear()
        report.longrepr = "\n".join(("A credential is told:", *leaks))
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _fail_if_skipped(report)
    return report


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    """A skipped test proves nothing, and a green run must not hide that."""
    if report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.longrepr = f"A skipped test counts as failed here. {reason}"
