"""Who may do what at the in-memory registry."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

import pytest

from local.registry import OBJECTS, BasicLogin, BearerLogin, Behaviour, EcrLogin, Registry
from local.registry.store import digest_of
from tests.http_calls import Answer, basic, call, fields_of
from tests.image_files import Image as SmallImage
from tests.image_files import skopeo, write_layout

BLOB = b"blob"
BLOB_PATH = f"/v2/app/blobs/{digest_of(BLOB)}"
USER, PASSWORD = "someone", "pass:word"


def stocked(registry: Registry) -> Registry:
    for name in ("app", "base"):
        registry.repository(name).put_blob(BLOB)
    return registry


@pytest.mark.parametrize(
    "wrong",
    [{}, basic(USER, "other"), {"Authorization": "Basic !"}, {"Authorization": f"Bearer {PASSWORD}"}],
    ids=["none", "wrong", "garbage", "bearer"],
)
def test_a_basic_login_asks_for_user_and_password(wrong):
    with stocked(Registry(login=BasicLogin(USER, PASSWORD))) as registry:
        asked = call(registry.host, "HEAD", BLOB_PATH, headers=wrong)
        known = call(registry.host, "HEAD", BLOB_PATH, headers=basic(USER, PASSWORD))

        assert asked.status == 401
        assert asked.headers["WWW-Authenticate"].startswith(f'Basic realm="http://{registry.host}/"')
        assert known.status == 200


def test_a_password_of_ecr_expires_with_a_403():
    with stocked(Registry(login=EcrLogin(lifetime_seconds=60))) as registry:
        password = registry.issue_password()

        assert call(registry.host, "GET", "/v2/").status == 401
        assert call(registry.host, "GET", "/v2/", headers=basic("AWS", password)).status == 200
        assert call(registry.host, "GET", "/v2/", headers=basic("other", password)).status == 401
        registry.let_time_pass(60)
        expired = call(registry.host, "GET", "/v2/", headers=basic("AWS", password))
        assert (expired.status, expired.code) == (403, "DENIED")
        assert (
            call(registry.host, "GET", "/v2/", headers=basic("AWS", registry.issue_password())).status == 200
        )


def test_only_a_registry_with_the_login_of_ecr_hands_out_passwords():
    with Registry() as registry, pytest.raises(TypeError, match="EcrLogin"):
        registry.issue_password()


@pytest.fixture
def bearer():
    with stocked(Registry(Behaviour.plain(), login=BearerLogin(USER, PASSWORD, 60))) as registry:
        yield registry


def token_for(registry: Registry, *scopes: str, headers: Mapping[str, str] | None = None) -> Answer:
    return call(registry.host, "GET", f"/token?scope={quote(' '.join(scopes))}", headers=headers)


def with_token(answer: Answer) -> dict[str, str]:
    return {"Authorization": f"Bearer {answer.document['token']}"}


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/v2/", None),
        ("GET", "/v2/team/app/manifests/1", "repository:team/app:pull"),
        ("POST", "/v2/team/app/blobs/uploads/", "repository:team/app:pull,push"),
        ("DELETE", "/v2/team/app/manifests/1", "repository:team/app:delete"),
    ],
)
def test_a_bearer_challenge_names_the_token_server_and_the_scope(bearer, method, path, scope):
    answer = call(bearer.host, method, path)

    assert answer.status == 401
    fields = fields_of(answer.headers["WWW-Authenticate"])
    assert fields["realm"] == f"http://{bearer.host}/token"
    assert fields.get("scope") == scope


def test_a_token_is_valid_for_its_scope_until_it_expires(bearer):
    token = token_for(bearer, "repository:app:pull", headers=basic(USER, PASSWORD))

    assert token.document["expires_in"] == 60
    assert call(bearer.host, "GET", BLOB_PATH, headers=with_token(token)).body == BLOB
    for method, path in [("GET", "/v2/base/tags/list"), ("POST", "/v2/app/blobs/uploads/")]:
        refused = call(bearer.host, method, path, headers=with_token(token))
        assert (refused.status, fields_of(refused.headers["WWW-Authenticate"])["error"]) == (
            401,
            "insufficient_scope",
        )
    bearer.let_time_pass(60)
    expired = call(bearer.host, "GET", BLOB_PATH, headers=with_token(token))
    assert fields_of(expired.headers["WWW-Authenticate"])["error"] == "invalid_token"


def test_a_mount_requires_read_access_to_the_other_repository(bearer):
    push, pull = "repository:new:pull,push", "repository:base:pull"
    mount = f"/v2/new/blobs/uploads/?mount={digest_of(BLOB)}&from=base"
    one, both = (
        token_for(bearer, *scopes, headers=basic(USER, PASSWORD)) for scopes in ([push], [push, pull])
    )

    assert call(bearer.host, "POST", mount, b"", with_token(one)).status == 401
    assert call(bearer.host, "POST", mount, b"", with_token(both)).status == 201


def test_a_token_can_be_requested_by_oauth_2(bearer):
    form = {"grant_type": "password", "username": USER, "password": PASSWORD, "scope": "repository:app:pull"}

    answer = call(bearer.host, "POST", "/token", urlencode(form).encode())

    assert "token" not in answer.document
    token = answer.document["access_token"]
    assert call(bearer.host, "GET", BLOB_PATH, headers={"Authorization": f"Bearer {token}"}).status == 200


@pytest.mark.parametrize("credential", [{}, basic(USER, "other")], ids=["none", "wrong"])
def test_wrong_credentials_get_no_token(bearer, credential):
    assert token_for(bearer, "repository:app:pull", headers=credential).status == 401


def test_anonymous_clients_may_pull_if_allowed():
    with stocked(Registry(login=BearerLogin(USER, PASSWORD, anonymous_pull=True))) as registry:
        token = with_token(token_for(registry, "repository:app:pull,push"))

        assert call(registry.host, "GET", BLOB_PATH, headers=token).status == 307
        assert call(registry.host, "POST", "/v2/app/blobs/uploads/", headers=token).status == 401
        assert token_for(registry, headers=basic(USER, "other")).status == 401


@pytest.mark.parametrize(
    "login", [BasicLogin(USER, PASSWORD), BearerLogin(USER, PASSWORD)], ids=["basic", "bearer"]
)
def test_skopeo_logs_in_and_shows_no_credential_to_the_second_origin(tmp_path, login):
    layout = write_layout(tmp_path / "image", SmallImage(layers=(b"", b"1" * 1024)))
    with Registry(login=login) as registry:
        place, user = f"docker://{registry.host}/app:1", f"{USER}:{PASSWORD}"

        skopeo("copy", "--dest-tls-verify=false", f"--dest-creds={user}", f"oci:{layout}:latest", place)
        skopeo("copy", "--src-tls-verify=false", f"--src-creds={user}", place, f"oci:{tmp_path}/back:1")

        at_objects = [seen for seen in registry.requests if seen.origin == OBJECTS]
        assert at_objects
        assert not any(seen.has_authorization for seen in at_objects)
        assert any(seen.has_authorization for seen in registry.requests)
