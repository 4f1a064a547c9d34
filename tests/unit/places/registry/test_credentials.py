from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from soci.errors import Unauthorized
from soci.places.registry.credentials import DockerConfig, Login, NoLogins

HOST = "registry.example:5000"
SECRET = "not-to-be-seen"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def config_of(directory: Path, **members: object) -> DockerConfig:
    (directory / "config.json").write_text(json.dumps(members))
    return DockerConfig(directory)


@pytest.fixture
def helper(tmp_path, monkeypatch):
    """Put a credential helper on the PATH that does what a piece of shell says."""

    def make(script: str, name: str = "test") -> None:
        path = tmp_path / "bin" / f"docker-credential-{name}"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")

    return make


@pytest.mark.parametrize(
    "key", [HOST, f"https://{HOST}", f"https://{HOST}/v1/", f"http://{HOST}/v2", f"http://{HOST}"]
)
def test_the_login_is_found_under_every_name_that_docker_has_written(tmp_path, key):
    config = config_of(
        tmp_path, auths={"other": {"auth": encoded("a:b")}, key: {"auth": encoded(f"me:{SECRET}:x")}}
    )

    assert config.fetch_login(HOST, renew=False) == Login(username="me", password=f"{SECRET}:x")


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "docker.io"])
def test_docker_hub_is_known_by_its_old_names(tmp_path, key):
    config = config_of(tmp_path, auths={key: {"auth": encoded("me:pass")}})

    assert config.fetch_login("docker.io", renew=False) == Login(username="me", password="pass")


@pytest.mark.parametrize(
    ("entry", "login"),
    [
        ({"username": "me", "password": "pass"}, Login(username="me", password="pass")),
        ({"identitytoken": SECRET, "auth": encoded("<token>:")}, Login(identity_token=SECRET)),
        ({}, None),
        ("nonsense", None),
    ],
    ids=["in the clear", "identity token", "empty", "no object"],
)
def test_an_entry_may_have_other_forms(tmp_path, entry, login):
    assert config_of(tmp_path, auths={HOST: entry}).fetch_login(HOST, renew=False) == login


@pytest.mark.parametrize(
    "others", [{"username": "u"}, {"username": "u", "password": "p"}], ids=["user", "both"]
)
def test_auth_precedes_the_user_and_password_beside_it(tmp_path, others):
    config = config_of(tmp_path, auths={HOST: {**others, "auth": encoded("me:pass")}})

    assert config.fetch_login(HOST, renew=False) == Login(username="me", password="pass")


@pytest.mark.parametrize("order", [1, -1], ids=["first", "last"])
@pytest.mark.parametrize("other", [f"https://{HOST}", f"https://{HOST}/v1/", f"{HOST}/app"])
def test_the_exact_name_of_a_registry_precedes_other_forms(tmp_path, other, order):
    entries = {HOST: {"auth": encoded("me:pass")}, other: {"auth": encoded("you:pass")}}

    config = config_of(tmp_path, auths=dict(list(entries.items())[::order]))

    assert config.fetch_login(HOST, renew=False) == Login(username="me", password="pass")


@pytest.mark.parametrize("key", [f"{HOST}/app", f"https://{HOST}/app/", f"https://{HOST}/v2/app"])
def test_a_login_for_a_part_of_a_registry_is_not_used_for_all_of_it(tmp_path, key):
    config = config_of(tmp_path, auths={key: {"auth": encoded("me:pass")}})

    assert config.fetch_login(HOST, renew=False) is None


def test_without_a_file_or_entry_there_is_no_login(tmp_path):
    assert DockerConfig(tmp_path).fetch_login(HOST, renew=False) is None
    assert config_of(tmp_path, auths={"other": {}}).fetch_login(HOST, renew=False) is None
    assert NoLogins().fetch_login(HOST, renew=True) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f'{{"auths": {SECRET}', "not valid JSON"),
        ("[]", "expected an object"),
        (json.dumps({"auths": [SECRET]}), "expected an object as auths"),
        (json.dumps({"credHelpers": SECRET}), "expected an object as credHelpers"),
        ("[" * 200_000, "not valid JSON"),
        (json.dumps({"auths": {HOST: {"auth": SECRET}}}), "is not base64 of user:password"),
        (json.dumps({"auths": {HOST: {"auth": encoded(SECRET)}}}), "is not base64 of user:password"),
    ],
    ids=["cut off", "list", "auths", "helpers", "deep", "no base64", "no colon"],
)
def test_a_corrupt_file_is_named_and_not_quoted(tmp_path, text, problem):
    (tmp_path / "config.json").write_text(text)

    with pytest.raises(Unauthorized, match=problem) as caught:
        DockerConfig(tmp_path).fetch_login(HOST, renew=False)

    assert SECRET not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "config.json").mkdir()

    with pytest.raises(Unauthorized, match=r"config\.json: Is a directory"):
        DockerConfig(tmp_path).fetch_login(HOST, renew=False)


def test_the_directory_comes_from_the_environment_or_is_below_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".docker").mkdir()
    config_of(tmp_path / ".docker", auths={HOST: {"auth": encoded("home:x")}})
    config_of(tmp_path, auths={HOST: {"auth": encoded("given:x")}})

    assert DockerConfig().fetch_login(HOST, renew=False) == Login(username="home", password="x")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert DockerConfig().fetch_login(HOST, renew=False) == Login(username="given", password="x")


def test_a_helper_is_asked_for_its_registry_before_the_store_and_the_file(tmp_path, helper):
    helper("""read host; printf '{"ServerURL":"%s","Username":"me@%s","Secret":"s"}' $host $host""")
    config = config_of(
        tmp_path, credHelpers={HOST: "test"}, credsStore="absent", auths={HOST: {"auth": encoded("a:b")}}
    )

    assert config.fetch_login(HOST, renew=False) == Login(username=f"me@{HOST}", password="s")


def test_the_store_is_asked_for_every_registry_and_then_the_file(tmp_path, helper):
    helper('if grep -q other; then echo \'{"Username":"<token>","Secret":"s"}\'; '
           'else echo "credentials not found in native keychain"; exit 1; fi')  # fmt: skip
    config = config_of(tmp_path, credsStore="test", auths={HOST: {"auth": encoded("a:b")}})

    assert config.fetch_login("other", renew=False) == Login(identity_token="s")
    assert config.fetch_login(HOST, renew=False) == Login(username="a", password="b")


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        (
            f"echo {SECRET}; echo {SECRET} >&2; exit 3",
            "docker-credential-test for registry.example:5000 failed with exit status 3; .*try `echo registry",
        ),
        (f"echo {SECRET}", "no Username and Secret"),
        (f"echo '[\"{SECRET}\"]'", "no Username and Secret"),
    ],
    ids=["fails", "no json", "no object"],
)
def test_a_helper_that_fails_is_named_and_not_quoted(tmp_path, helper, script, problem):
    helper(script)

    with pytest.raises(Unauthorized, match=problem) as caught:
        config_of(tmp_path, credHelpers={HOST: "test"}).fetch_login(HOST, renew=False)

    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("absent", "docker-credential-absent.*: not installed, or not on the PATH"),
        ("../../x", "not a program name"),
    ],
)
def test_a_missing_helper_is_named(tmp_path, name, problem):
    with pytest.raises(Unauthorized, match=problem):
        config_of(tmp_path, credHelpers={HOST: name}).fetch_login(HOST, renew=False)


def test_a_login_does_not_show_its_secrets():
    assert SECRET not in repr(Login(username="me", password=SECRET, identity_token=SECRET))
