from __future__ import annotations

import pytest

from soci.errors import InvalidResponse
from soci.places.registry.http_messages import Operation, Request
from soci.places.registry.urls import is_loopback, is_private, origin, redacted, redirected


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h/v2/a?X-Amz-Signature=secret", "https://h/v2/a?..."),
        ("https://user:secret@h:444/v2/a#secret", "https://h:444/v2/a"),
        ("http://[::1]:5000/v2/", "http://[::1]:5000/v2/"),
    ],
)
def test_user_query_and_fragment_of_a_url_are_not_shown(url, shown):
    assert redacted(url) == shown
    assert str(Request(method="GET", url=url, operation=Operation.LIST)) == f"GET {shown}"


def test_the_default_port_makes_no_other_origin():
    assert origin("https://h/a") == origin("https://h:443/b") != origin("http://h/a")
    assert origin("https://H/a") == origin("https://h/a") != origin("https://h:444/a")


@pytest.mark.parametrize(
    "url", ["", "/v2/", "ftp://h/", "https://", "https://h:0/", "https://h:x/", "https://[h/"]
)
def test_a_url_that_is_not_absolute_is_refused(url):
    with pytest.raises(InvalidResponse, match="expected an absolute http or https URL"):
        origin(url)


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_this_machine_is_recognised(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["localhost.example", "10.0.0.1", "127.0.0.1.example", ""])
def test_other_machines_are_not_this_one(host):
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("url", "private"),
    [("https://h/", True), ("http://h/", False), ("http://127.0.0.1:5000/", True), ("http://[::1]/", True)],
)
def test_only_https_and_this_machine_are_private(url, private):
    assert is_private(url) is private


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/x", "https://h/x"),
        ("y", "https://h/v2/y"),
        ("https://o/z?q", "https://o/z?q"),
        ("//o/z", "https://o/z"),
    ],
)
def test_a_location_is_resolved_against_its_url(location, target):
    assert redirected("https://h/v2/a", location) == target


@pytest.mark.parametrize(
    ("location", "problem"),
    [
        ("", "without Location"),
        ("http://h/x?secret", r"from HTTPS to plain HTTP, http://h/x\?\.\.\."),
        ("file:///etc/passwd", "expected an absolute"),
        ("http://[bad/x", "https://h/v2/a: a header with a malformed URL"),
    ],
)
def test_a_redirect_to_nowhere_or_out_of_https_is_refused(location, problem):
    with pytest.raises(InvalidResponse, match=problem):
        redirected("https://h/v2/a", location)
