"""Logins as `docker login` leaves them: config.json and the credential helpers it names.

{"auths": {"registry.example": {"auth": base64("user:password")}},
 "credHelpers": {"registry.example": "pass"}, "credsStore": "secretservice"}
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from soci.errors import Unauthorized

DOCKER_HUB_KEYS = ("https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io")
"""What Docker Hub is called in config.json: the address of its first version, still."""

HELPER_TIMEOUT_SECONDS = 60
_HELPER_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_TOKEN_USER = "<token>"  # noqa: S105 - a marker for the kind of secret, not a secret
_NOT_FOUND = "credentials not found"


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A user with password, or an identity token that a token server takes. Neither is shown in messages."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    valid_seconds: float | None = None
    """How long it will be good; None: until it is refused."""


class LoginSource(Protocol):
    """Someone who may know a login."""

    def fetch_login(self, host: str, *, renew: bool) -> Login | None:
        """Return the login for a registry, None when there is none.

        With `renew` the one returned before was refused: what is kept in memory is not good enough.

        Raises:
            Unauthorized: there should be one, but it cannot be had.
        """


@runtime_checkable
class LoginAdvisor(Protocol):
    """What some sources can do besides: tell a user how to come by a login that they lack."""

    def advise(self, host: str) -> str:
        """Say what to do, after `fetch_login` returned None; nothing if this source knows no advice."""


class NoLogins:
    """Anonymous: a source that knows nothing."""

    def fetch_login(self, host: str, *, renew: bool) -> Login | None:  # noqa: ARG002 - the shape of the port
        """Return None."""
        return None


class DockerConfig:
    """The logins of Docker's config.json in a directory; the file is read again for each question."""

    def __init__(self, directory: Path | None = None) -> None:
        given = os.environ.get("DOCKER_CONFIG")
        self._path = (directory or (Path(given) if given else Path.home() / ".docker")) / "config.json"

    def fetch_login(self, host: str, *, renew: bool) -> Login | None:  # noqa: ARG002 - nothing is kept in memory
        """Return the login for a registry: that of its helper, of the store, or the one in the file.

        Where the file has several it is as with Docker: a registry's very name counts before a URL of it, and
        `auth` before the user and password beside it.
        """
        config = self._read()
        keys = DOCKER_HUB_KEYS if host in DOCKER_HUB_KEYS else (host,)
        helpers = self._mapping(config, "credHelpers")
        for key in keys:
            if key in helpers:
                return _ask_helper(str(helpers[key]), key)
        if store := config.get("credsStore"):
            for key in keys:
                if login := _ask_helper(str(store), key):
                    return login
        auths = self._mapping(config, "auths")
        by_host = {_bare(key): entry for key, entry in auths.items()}
        found = (entries.get(key) for entries in (auths, by_host) for key in keys)
        entry = next((entry for entry in found if isinstance(entry, Mapping)), None)
        return None if entry is None else self._parse_entry(entry, host)

    def advise(self, host: str) -> str:
        """Name the command that writes the file."""
        return f"`docker login {host}` makes one"

    def _read(self) -> Mapping[str, Any]:
        try:
            document = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise Unauthorized(f"{self._path}: {error.strerror}") from None
        except (ValueError, RecursionError):  # the parser's message would quote the file
            raise Unauthorized(f"{self._path}: not valid JSON") from None
        if not isinstance(document, Mapping):
            raise Unauthorized(f"{self._path}: expected an object")
        return document

    def _mapping(self, config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
        value = config.get(name) or {}
        if not isinstance(value, Mapping):
            raise Unauthorized(f"{self._path}: expected an object as {name}")
        return value

    def _parse_entry(self, entry: Mapping[str, Any], host: str) -> Login | None:
        if token := entry.get("identitytoken"):
            return Login(identity_token=str(token))
        if not entry.get("auth"):
            username = str(entry.get("username") or "")
            return Login(username=username, password=str(entry.get("password") or "")) if username else None
        try:
            username, colon, password = (
                base64.b64decode(str(entry["auth"]), validate=True).decode().partition(":")
            )
        except ValueError:
            colon = ""
        if not colon:
            raise Unauthorized(f"{self._path}: the login for {host} is not base64 of user:password") from None
        return Login(username=username, password=password.rstrip("\0"))


def _bare(key: str) -> str:
    """Return the host of a key: older versions of Docker wrote whole URLs, down to the version of the API.

    Any other path stays: Podman writes logins for a part of a registry, which are none for all of it.
    """
    host, _, path = key.removeprefix("https://").removeprefix("http://").partition("/")
    return host if path.rstrip("/") in ("", "v1", "v2") else key


def _ask_helper(name: str, key: str) -> Login | None:
    """Run docker-credential-NAME. Its output is a secret and stays out of messages."""
    if not _HELPER_NAME.fullmatch(name):
        raise Unauthorized(
            f"config.json names the credential helper {name[:100]!r}, which is no name of a program"
        )
    program = f"docker-credential-{name}"
    try:
        done = subprocess.run(  # noqa: S603 - the program that the user's own configuration names
            [program, "get"],
            input=key.encode(),
            capture_output=True,
            timeout=HELPER_TIMEOUT_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise Unauthorized(
            f"{program}, which config.json names for {key}: not installed, or not on the PATH"
        ) from None
    except subprocess.TimeoutExpired:
        raise Unauthorized(f"{program} for {key}: no answer in {HELPER_TIMEOUT_SECONDS} s") from None
    except OSError as error:
        raise Unauthorized(f"{program} for {key}: {error.strerror}") from None
    if done.returncode:
        if _NOT_FOUND in (done.stdout + done.stderr).decode(errors="replace"):
            return None
        raise Unauthorized(
            f"{program} for {key} failed with exit status {done.returncode}; what it says is not shown, since it may"
            f" be secret: try `echo {key} | {program} get`"
        )
    try:
        answer = json.loads(done.stdout)
        username, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Unauthorized(f"{program} for {key}: the answer has no Username and Secret") from None
    return (
        Login(identity_token=secret) if username == _TOKEN_USER else Login(username=username, password=secret)
    )
