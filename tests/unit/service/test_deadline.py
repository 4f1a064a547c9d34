from __future__ import annotations

import socket
import time

import pytest

from soci.errors import InvalidRequest, RegistryUnavailable
from soci.places.cancellation import cancellable_sleep
from soci.places.registry.connect import connect
from soci.places.registry.credentials import NoLogins
from soci.service.deadline import within_deadline


@pytest.fixture
def silent():
    """The address of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_a_silent_registry_is_a_retryable_error_before_the_deadline(silent):
    place = connect(silent, logins=NoLogins())
    began = time.monotonic()

    with pytest.raises(RegistryUnavailable) as caught, within_deadline(1_000):
        place.open_image("app", "1").fetch_root()

    assert caught.value.retryable
    assert time.monotonic() - began < 1


def test_the_deadline_ends_waits_between_attempts():
    with pytest.raises(RegistryUnavailable, match="did not answer within 0 seconds"), within_deadline(200):
        cancellable_sleep(60)


def test_other_errors_pass():
    with pytest.raises(InvalidRequest), within_deadline(60_000):
        raise InvalidRequest("no")
