from __future__ import annotations

from pathlib import Path

import pytest

from soci.errors import InvalidReference
from soci.oci.digest import digest_of
from soci.oci.reference import (
    DockerArchiveRef,
    OciArchiveRef,
    OciLayoutRef,
    RegistryRef,
    full_image_name,
    parse_reference,
)

DIGEST = digest_of(b"")


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("oci:dir", OciLayoutRef(path=Path("dir"))),
        ("oci:/a/b.c", OciLayoutRef(path=Path("/a/b.c"))),
        ("oci:dir:latest", OciLayoutRef(path=Path("dir"), tag="latest")),
        ("oci:dir:", OciLayoutRef(path=Path("dir"))),
        ("oci:dir:app:1.0", OciLayoutRef(path=Path("dir"), tag="app:1.0")),
        ("oci:dir:docker.io/library/app:1", OciLayoutRef(path=Path("dir"), tag="docker.io/library/app:1")),
        (f"oci:dir@{DIGEST}", OciLayoutRef(path=Path("dir"), digest=DIGEST)),
        ("oci:user@host/dir", OciLayoutRef(path=Path("user@host/dir"))),
        ("oci-archive:a.tar:1.0", OciArchiveRef(path=Path("a.tar"), tag="1.0")),
        (f"oci-archive:a.tar@{DIGEST}", OciArchiveRef(path=Path("a.tar"), digest=DIGEST)),
        ("docker-archive:a.tar", DockerArchiveRef(path=Path("a.tar"))),
        ("docker-archive:a.tar:app", DockerArchiveRef(path=Path("a.tar"), tag="app")),
        (
            "docker-archive:a.tar:h.io:5000/x/app:1",
            DockerArchiveRef(path=Path("a.tar"), tag="h.io:5000/x/app:1"),
        ),
    ],
)
def test_a_path_ends_at_the_first_colon_as_in_skopeo(text, reference):
    assert parse_reference(text) == reference
    assert parse_reference(str(reference)) == reference


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param(
            "",
            r"accepted are \[HOST/\]NAME.*, oci:DIR.*, oci-archive:FILE.*, docker-archive:FILE",
            id="nothing",
        ),
        pytest.param("./dir", "expected .* in lower case; accepted are", id="bare path"),
        pytest.param("dir:/tmp/x", "not a transport that is read; accepted are", id="another transport"),
        pytest.param(
            "docker-daemon:app:1", "not a transport that is read", id="a transport that looks like a name"
        ),
        pytest.param("h.io/App:1", "'h.io/App': expected .* in lower case", id="upper case in a registry"),
        pytest.param("h.io/app:", "tag ''", id="empty tag in a registry"),
        pytest.param("h.io/app:a b", "tag 'a b': expected at most 128", id="space in a registry's tag"),
        pytest.param("h.io/app:" + "a" * 129, "at most 128", id="long tag in a registry"),
        pytest.param("h.io/" + "a" * 255, "in lower case", id="long name in a registry"),
        pytest.param("h.io/app@sha256:12", "expected 64 hex digits, got 2", id="short digest in a registry"),
        pytest.param("user:pass@h.io/app", "accepted are", id="a login in the name"),
        pytest.param("127.0.0.1:99999/app", "port 99999: expected 1 to 65535", id="port"),
        pytest.param("h.io:0/app", "port 0: expected 1 to 65535", id="port 0"),
        pytest.param("http://h.io/app:1", "leave http:// out", id="a web address"),
        pytest.param("HTTPS://h.io/app:1", "leave HTTPS:// out", id="a secure web address"),
        pytest.param("oci:", "no path", id="no path"),
        pytest.param("oci::tag", "no path", id="only a tag"),
        pytest.param("oci:a\0b", "NUL", id="nul in the path"),
        pytest.param("oci:dir:a b", "tag 'a b': expected letters", id="space in the tag"),
        pytest.param("oci:dir:-a", "tag '-a'", id="tag begins with a dash"),
        pytest.param("oci:dir:" + "a" * 256, "expected letters", id="long tag"),
        pytest.param("oci:dir@sha256:12", "expected 64 hex digits, got 2", id="short digest"),
        pytest.param("oci:dir@sha1:12", "expected algorithm sha256 or sha512, got 'sha1'", id="algorithm"),
        pytest.param(f"oci:dir:tag@{DIGEST}", "a tag and a digest", id="tag and digest"),
        pytest.param("docker-archive:a.tar:App", "in lower case", id="upper case name"),
        pytest.param(
            f"docker-archive:a.tar:app@{DIGEST}", "names with tags, no digests", id="digest in an archive"
        ),
    ],
)
def test_a_bad_reference_is_refused_with_help(text, problem):
    with pytest.raises(InvalidReference, match=problem):
        parse_reference(text)


@pytest.mark.parametrize(
    ("text", "reference", "written"),
    [
        ("h.io/a/b:1", RegistryRef(host="h.io", repository="a/b", tag="1"), "h.io/a/b:1"),
        ("localhost/app", RegistryRef(host="localhost", repository="app"), "localhost/app"),
        (
            "127.0.0.1:5000/app:1",
            RegistryRef(host="127.0.0.1:5000", repository="app", tag="1"),
            "127.0.0.1:5000/app:1",
        ),
        ("[::1]:5000/app", RegistryRef(host="[::1]:5000", repository="app"), "[::1]:5000/app"),
        ("app", RegistryRef(host="docker.io", repository="library/app"), "docker.io/library/app"),
        ("team/app:1", RegistryRef(host="docker.io", repository="team/app", tag="1"), "docker.io/team/app:1"),
        (
            "docker://app:1",
            RegistryRef(host="docker.io", repository="library/app", tag="1"),
            "docker.io/library/app:1",
        ),
        (
            f"h.io/app@{DIGEST}",
            RegistryRef(host="h.io", repository="app", digest=DIGEST),
            f"h.io/app@{DIGEST}",
        ),
        (
            f"h.io/app:1@{DIGEST}",
            RegistryRef(host="h.io", repository="app", tag="1", digest=DIGEST),
            f"h.io/app:1@{DIGEST}",
        ),
    ],
)
def test_a_reference_without_a_transport_is_a_docker_name_in_a_registry(text, reference, written):
    assert parse_reference(text) == reference
    assert str(reference) == written
    assert parse_reference(written) == reference


@pytest.mark.parametrize(
    ("name", "full_name"),
    [
        ("app", "docker.io/library/app:latest"),
        ("app:1.0", "docker.io/library/app:1.0"),
        ("team/app:1.0", "docker.io/team/app:1.0"),
        ("docker.io/app", "docker.io/library/app:latest"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app:x", "localhost:5000/app:x"),
        ("123.dkr.ecr.eu-west-1.amazonaws.com/a/b:c", "123.dkr.ecr.eu-west-1.amazonaws.com/a/b:c"),
        ("[::1]:5000/app", "[::1]:5000/app:latest"),
    ],
)
def test_image_names_are_completed_as_docker_does(name, full_name):
    assert full_image_name(name) == full_name
    assert full_image_name(full_name) == full_name


@pytest.mark.parametrize("name", ["", "/app", "app/", "a//b", "app:a b", "app:-1", "ex_am.ple/app", "a..b"])
def test_a_text_that_is_not_an_image_name_is_refused(name):
    with pytest.raises(InvalidReference, match="image name"):
        full_image_name(name)
