from __future__ import annotations

import base64
import logging
import sys
from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, ProfileNotFound

from local.registry import EcrLogin, Registry
from soci.errors import RegistryError, RegistryUnavailable, Throttled, Unauthorized
from soci.places.registry.credentials import Login
from soci.places.registry.ecr import (
    RENEW_BEFORE_SECONDS,
    EcrHost,
    EcrLogins,
    boto3_client,
    error_from_aws,
    parse_ecr_host,
)
from tests.aws_environment import as_aws

HOST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
SECRET = "not-to-be-seen"
NOW = 1_800_000_000.0
HOURS = 3600


@pytest.mark.parametrize(
    ("host", "region", "fips", "dual_stack"),
    [
        (HOST, "eu-west-1", False, False),
        (HOST.upper(), "eu-west-1", False, False),
        ("123456789012.dkr.ecr-fips.us-east-1.amazonaws.com", "us-east-1", True, False),
        ("123456789012.dkr-ecr.us-east-1.on.aws", "us-east-1", False, True),
        ("123456789012.dkr-ecr-fips.us-east-1.on.aws", "us-east-1", True, True),
        ("123456789012.dkr.ecr.us-gov-west-1.amazonaws.com", "us-gov-west-1", False, False),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "cn-north-1", False, False),
        ("123456789012.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn", "cn-north-1", False, True),
        ("123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1", False, False),
        ("123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov", "us-iso-east-1", False, False),
        ("123456789012.dkr.ecr.us-isob-east-1.sc2s.sgov.gov", "us-isob-east-1", False, False),
        ("123456789012.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk", "eu-isoe-west-1", False, False),
        ("123456789012.dkr.ecr.us-isof-south-1.csp.hci.ic.gov", "us-isof-south-1", False, False),
    ],
)
def test_registries_of_ecr_are_recognised_in_every_partition(host, region, fips, dual_stack):
    expected = EcrHost(account="123456789012", region=region, fips=fips, dual_stack=dual_stack)

    assert parse_ecr_host(host) == expected


def test_the_port_of_https_makes_no_other_registry():
    assert parse_ecr_host(f"{HOST}:443") == parse_ecr_host(HOST) is not None


def test_advice_is_given_only_for_the_registry_that_lacks_a_login(monkeypatch):
    monkeypatch.setitem(sys.modules, "botocore.exceptions", None)
    logins = EcrLogins()

    assert logins.fetch_login(HOST, renew=False) is None

    assert "boto3, which is not installed" in logins.advise(HOST)
    assert logins.advise("registry.example") == ""


@pytest.mark.parametrize(
    "host",
    [
        "public.ecr.aws",
        "docker.io",
        f"{HOST}.evil.example",
        f"evil{HOST}",
        f"{HOST}:444",
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil",
        "123456789012.dkr.ecr.eu-west-1.on.aws",
        "123456789012.dkr-ecr.eu-west-1.amazonaws.com",
        "12345678901.dkr.ecr.eu-west-1.amazonaws.com",
        "123456789012.dkr.ecr.eu.west.amazonaws.com",
    ],
)
def test_other_hosts_are_not_registries_of_ecr(host):
    assert parse_ecr_host(host) is None
    assert EcrLogins(make_client=lambda _: pytest.fail("asked AWS")).fetch_login(host, renew=True) is None


class Aws:
    """GetAuthorizationToken, and what it was asked."""

    def __init__(self, answer: object = None) -> None:
        self.answer = answer
        self.calls = 0
        self.now = NOW

    def get_authorization_token(self):
        self.calls += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is not None:
            return self.answer
        token = base64.b64encode(f"AWS:{SECRET}{self.calls}".encode()).decode()
        expires_at = datetime.fromtimestamp(self.now + 12 * HOURS, UTC)
        return {"authorizationData": [{"authorizationToken": token, "expiresAt": expires_at}]}

    def logins(self) -> EcrLogins:
        return EcrLogins(make_client=lambda _: self, now=lambda: self.now)


def test_a_token_is_the_password_of_the_user_aws():
    assert Aws().logins().fetch_login(HOST, renew=False) == Login(
        username="AWS", password=f"{SECRET}1", valid_seconds=12 * HOURS - RENEW_BEFORE_SECONDS
    )


def test_a_token_is_kept_and_renewed_before_it_expires():
    aws = Aws()
    logins = aws.logins()
    logins.fetch_login(HOST, renew=False)

    aws.now += 12 * HOURS - RENEW_BEFORE_SECONDS - 1
    kept = logins.fetch_login(HOST, renew=False)
    aws.now += 1
    renewed = logins.fetch_login(HOST, renew=False)

    assert kept is not None
    assert (kept.password, kept.valid_seconds) == (f"{SECRET}1", 1)
    assert renewed is not None
    assert renewed.password == f"{SECRET}2"


def test_a_token_that_was_refused_is_renewed_and_each_registry_has_its_own():
    aws = Aws()
    logins = aws.logins()

    passwords = [
        (logins.fetch_login(host, renew=renew) or Login()).password
        for host, renew in [
            (HOST, False),
            (HOST, True),
            (HOST.replace("eu-west-1", "us-east-1"), False),
            (HOST, False),
        ]
    ]

    assert [password.removeprefix(SECRET) for password in passwords] == ["1", "2", "3", "2"]


def test_without_aws_credentials_there_is_no_login_but_advice():
    logins = Aws(NoCredentialsError()).logins()

    assert logins.advise(HOST) == ""
    assert logins.fetch_login(HOST, renew=False) is None
    assert "no AWS credentials" in logins.advise(HOST)


def test_without_boto3_there_is_no_login_but_advice(monkeypatch):
    monkeypatch.setitem(sys.modules, "botocore", None)
    monkeypatch.setitem(sys.modules, "botocore.exceptions", None)

    logins = Aws().logins()

    assert logins.fetch_login(HOST, renew=False) is None
    assert "needs boto3, which is not installed" in logins.advise(HOST)


@pytest.mark.parametrize(
    ("answer", "error", "problem"),
    [
        (
            ClientError(
                {"Error": {"Code": "AccessDeniedException", "Message": SECRET}}, "GetAuthorizationToken"
            ),
            Unauthorized,
            "GetAuthorizationToken for 123456789012 in eu-west-1: AccessDeniedException",
        ),
        (
            EndpointConnectionError(endpoint_url=f"https://{SECRET}"),
            RegistryUnavailable,
            "EndpointConnectionError",
        ),
        (ProfileNotFound(profile=SECRET), Unauthorized, "ProfileNotFound"),
        ({"authorizationData": []}, Unauthorized, "no token"),
        ({"authorizationData": [{"authorizationToken": SECRET}]}, Unauthorized, "no token"),
    ],
    ids=["refused", "no connection", "no profile", "nothing", "no base64"],
)
def test_an_error_of_aws_is_shown_without_its_text(answer, error, problem):
    with pytest.raises(error, match=problem) as caught:
        Aws(answer).logins().fetch_login(HOST, renew=False)

    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "loggers", [[""], ["botocore.parsers", "botocore.hooks", "boto3"]], ids=["all", "some"]
)
def test_no_log_level_shows_a_token(caplog, loggers):
    for name in loggers:
        caplog.set_level(logging.DEBUG, name)
    login = EcrLogin()
    with Registry(login=login) as registry, as_aws(registry):
        logins = EcrLogins(any_host=True)
        found = logins.fetch_login("registry.example", renew=False)
        boto3_client(None).describe_repositories()

    assert found is not None
    token = base64.b64encode(f"AWS:{found.password}".encode()).decode()
    assert found.password not in caplog.text
    assert token not in caplog.text
    assert "describe" in caplog.text.lower()  # other calls are logged as they are


@pytest.mark.parametrize(
    ("host", "endpoint"),
    [
        (HOST, "https://api.ecr.eu-west-1.amazonaws.com"),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "https://api.ecr.cn-north-1.amazonaws.com.cn"),
        ("123456789012.dkr-ecr.us-east-1.on.aws", "https://ecr.us-east-1.api.aws"),
        ("123456789012.dkr.ecr-fips.us-east-1.amazonaws.com", "https://ecr-fips.us-east-1.amazonaws.com"),
    ],
)
def test_boto3_uses_the_endpoint_of_the_registry(monkeypatch, host, endpoint):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "none")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")
    ecr_host = parse_ecr_host(host)
    assert ecr_host is not None

    assert boto3_client(ecr_host).meta.endpoint_url == endpoint


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("ThrottlingException", 400, Throttled),
        ("429", 429, Throttled),
        ("ServerException", 500, RegistryUnavailable),
        ("503", 503, RegistryUnavailable),
        ("InvalidParameterException", 400, RegistryError),
        ("ExpiredTokenException", 400, Unauthorized),
    ],
)
def test_the_kind_of_error_says_whether_a_retry_may_help(code, status, error):
    response = {
        "Error": {"Code": code, "Message": "more"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }

    made = error_from_aws("a call", ClientError(response, "DescribeImages"), with_text=True)

    assert type(made) is error
    assert (str(made), made.status) == (f"a call: {code}: more", status)


def test_any_host_can_count_as_the_registry_of_the_account():
    aws = Aws()
    logins = EcrLogins(make_client=lambda host: aws if host is None else pytest.fail("asked another region"))
    account = EcrLogins(make_client=lambda _: aws, now=lambda: aws.now, any_host=True)

    assert logins.fetch_login("127.0.0.1:5000", renew=False) is None
    first, second = (account.fetch_login(host, renew=False) for host in ("127.0.0.1:5000", "127.0.0.1:5001"))
    assert first == second
    assert aws.calls == 1
