from __future__ import annotations

import pytest

from soci.errors import InvalidResponse
from soci.places.registry.challenge import parse_challenges


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        pytest.param("", [], id="nothing"),
        pytest.param("Basic", [("basic", {})], id="scheme alone"),
        pytest.param('Basic realm="r"', [("basic", {"realm": "r"})], id="basic"),
        pytest.param(
            'Bearer realm="https://a/t",service="s",scope="repository:a/b:pull,push"',
            [("bearer", {"realm": "https://a/t", "service": "s", "scope": "repository:a/b:pull,push"})],
            id="bearer, with commas in quotes",
        ),
        pytest.param(
            'bearer  realm = "x" , SERVICE = s',
            [("bearer", {"realm": "x", "service": "s"})],
            id="case and spaces",
        ),
        pytest.param(
            'Negotiate, Basic realm="r", Bearer realm="t"',
            [("negotiate", {}), ("basic", {"realm": "r"}), ("bearer", {"realm": "t"})],
            id="several",
        ),
        pytest.param("NTLM abc+/==, Basic", [("ntlm", {}), ("basic", {})], id="a token behind the scheme"),
        pytest.param(r'Basic realm="a \"b\" \\"', [("basic", {"realm": 'a "b" \\'})], id="escapes"),
        pytest.param(
            "Bearer realm=https://a/t,service=s",
            [("bearer", {"realm": "https://a/t", "service": "s"})],
            id="no quotes",
        ),
        pytest.param(
            'Bearer realm="a",realm="b"', [("bearer", {"realm": "a"})], id="the first of two counts"
        ),
        pytest.param(',, Basic realm="r",', [("basic", {"realm": "r"})], id="empty elements"),
    ],
)
def test_a_challenge_is_parsed(header, expected):
    assert [(challenge.scheme, challenge.parameters) for challenge in parse_challenges(header)] == expected


@pytest.mark.parametrize("header", ['Basic realm="r', 'realm="r"', '"Basic"', 'Basic realm="a" "b"'])
def test_a_malformed_challenge_is_refused(header):
    with pytest.raises(InvalidResponse, match="WWW-Authenticate does not parse"):
        parse_challenges(header)
