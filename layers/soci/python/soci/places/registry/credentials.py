"""Logins of `docker login`: config.json and its credential helpers.

{"auths": {"registry.example": {"auth": base64("user:password")}},
 "credHelpers": {"registry.example": "pass"}, "credsStore": "secretservice"}
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from soci.errors import Unauthorized

DOCKER_HUB_KEYS = ("https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io")
"""Docker Hub's names in config.json. The usual one is the address of its first API version."""

HELPER_TIMEOUT_SECONDS = 60
_HELPER_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_TOKEN_USER = "<token>"  # noqa: S105 - a marker for the kind of secret, not a secret
_NOT_FOUND = "credentials not found"


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A user with a password, or an identity token for a token server. Messages show neither."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    valid_seconds: float | None = None
    """The remaining lifetime; None: valid until it is refused."""


class LoginSource(Protocol):
    """A source of logins."""

    def fetch_login(self, host: str, *, renew: bool) -> Login | None:
        """Return the login for a registry; None when there is none.

        `renew` says that the last login was refused: fetch a new one instead of the one in memory.

        Raises:
            Unauthorized: a login is configured, but fetching it failed.
        """


@runtime_checkable
class LoginAdvisor(Protocol):
    """A login source that can tell a user how to get a missing login."""

    def advise(self, host: str) -> str:
        """Return what to do after `fetch_login` returned None; "" without advice."""


class NoLogins:
    """A source without logins: access is anonymous."""

    def fetch_login(self, host: str, *, renew: bool) -> Login | None:  # noqa: ARG002 - required by the port
        """Return None."""
        return None


class DockerConfig:
    """The logins of Docker's config.json in a directory. Each call reads the file again."""

    def __init__(self, directory: Path | None = None) -> None:
        given = os.environ.get("DOCKER_CONFIG")
        self._path = (directory or (Path(given) if given else Path.home() / ".docker")) / "config.json"

    def fetch_login(self, host: str, *, renew: bool) -> Login | None:  # noqa: ARG002 - nothing is kept in memory
        """Return the login of the registry's helper, of the store, or of the file.

        Precedence in the file is Docker's: the exact name of a registry before a URL of it, and `auth` before
        the user and password beside it.
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
        """Return the command that writes the file."""
        return f"`docker login {host}` creates one"

    def _read(self) -> Mapping[str, Any]:
        try:
            document = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise Unauthorized(f"{self._path}: {error.strerror}") from None
        except (ValueError, RecursionError):  # the parser's message quotes the file
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
    """Return the host of a key. Older versions of Docker wrote whole URLs, with the version of the API.

    A key with any other path stays as it is: Podman writes logins for a part of a registry.
    """
    host, _, path = key.removeprefix("https://").removeprefix("http://").partition("/")
    return host if path.rstrip("/") in ("", "v1", "v2") else key


def _ask_helper(name: str, key: str) -> Login | None:
    """Run docker-credential-NAME. Its output is secret: messages never show it."""
    import subprocess  # noqa: PLC0415 - Lambda starts without it

    if not _HELPER_NAME.fullmatch(name):
        raise Unauthorized(
            f"config.json names the credential helper {name[:100]!r}, which is not a program name"
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
            f"{program} for {key} failed with exit status {done.returncode}; its output is not shown because it may"
            f" be secret: try `echo {key} | {program} get`"
        )
    try:
        output = json.loads(done.stdout)
        username, secret = str(output["Username"]), str(output["Secret"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Unauthorized(f"{program} for {key}: the output has no Username and Secret") from None
    return (
        Login(identity_token=secret) if username == _TOKEN_USER else Login(username=username, password=secret)
    )
