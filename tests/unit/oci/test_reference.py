from __future__ import annotations

from pathlib import Path

import pytest

from soci.errors import InvalidReference
from soci.oci.digest import digest_of
from soci.oci.reference import (
    DockerArchiveRef,
    OciArchiveRef,
    OciLayoutRef,
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
        pytest.param("", "accepted are oci:DIR", id="nothing"),
        pytest.param(
            "ubuntu:22.04", "accepted are oci:DIR.* oci-archive:FILE.* docker-archive:FILE", id="registry"
        ),
        pytest.param("./dir", "accepted are oci:DIR", id="bare path"),
        pytest.param("dir:/tmp/x", "accepted are oci:DIR", id="another transport"),
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
def test_what_is_no_image_name_is_refused(name):
    with pytest.raises(InvalidReference, match="image name"):
        full_image_name(name)
