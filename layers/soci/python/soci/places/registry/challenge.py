"""Challenges: the WWW-Authenticate header of a 401 (RFC 9110, 11.6.1).

Bearer realm="https://auth.example/token",service="registry.example",scope="repository:app:pull"
Basic realm="registry.example", Negotiate
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from soci.errors import InvalidResponse

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_NAME = re.compile(rf"[\s,]*({_WORD})")
_VALUE = re.compile(r'\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))\s*(?=,|$)')
"""Unquoted values may have more characters than the grammar allows: some registries forget the quotes."""
_TOKEN68 = re.compile(r"[ ]+[A-Za-z0-9._~+/-]+=*[ ]*(?=,|$)")
_ESCAPE = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One way to log in: a scheme and its parameters. Names are in lower case."""

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(header: str) -> tuple[Challenge, ...]:
    """Return all challenges of a header, in order. The caller joins several headers with a comma.

    Raises:
        InvalidResponse: the header does not parse.
    """
    found: list[tuple[str, dict[str, str]]] = []
    position = 0
    while name := _NAME.match(header, position):
        position = name.end()
        if value := _VALUE.match(header, position):
            if not found:
                raise _invalid(header)
            quoted, plain = value.groups()
            text = plain if quoted is None else _ESCAPE.sub(r"\1", quoted)
            found[-1][1].setdefault(name[1].lower(), text)
            position = value.end()
        else:
            found.append((name[1].lower(), {}))
            if token := _TOKEN68.match(header, position):
                position = token.end()
    if header[position:].strip(" \t,"):
        raise _invalid(header)
    return tuple(Challenge(scheme=scheme, parameters=parameters) for scheme, parameters in found)


def _invalid(header: str) -> InvalidResponse:
    return InvalidResponse(f"WWW-Authenticate does not parse: {header[:200]!r}")
