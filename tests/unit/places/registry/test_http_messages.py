from __future__ import annotations

from soci.places.registry.http_messages import Operation, Request


def test_headers_and_body_are_not_shown():
    request = Request(
        method="GET",
        url="https://h/",
        operation=Operation.LIST,
        headers={"Authorization": "secret"},
        body=b"secret",
    )

    assert "secret" not in repr(request)
