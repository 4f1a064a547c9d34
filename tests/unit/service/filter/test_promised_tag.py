from __future__ import annotations

import pytest

from soci.service.filter.promised_tag import promised_tag, why_not_promised
from soci.service.messages import ImageRequest, Origin
from soci.service.settings.configuration import Configuration


def request(repository: str = "app", tag: str | None = "1.4", **fields) -> ImageRequest:
    return ImageRequest(repository=repository, tag=tag, **{"origin": Origin.PUSH, **fields})


def settings(**sections) -> Configuration:
    return Configuration.from_document(sections)


@pytest.mark.parametrize(
    ("tag", "promised", "original"),
    [
        ("1.4", "1.4-soci", None),
        ("1.4-soci", None, "1.4"),
        ("1-soci.2", None, None),
        ("1-soci-lazy", None, None),
        ("feature-social-login", "feature-social-login-soci", None),
        ("-soci", None, None),
        ("1.4-soci-soci", None, "1.4-soci"),
        (None, None, None),
    ],
)
def test_a_tag_tells_its_promised_tag_and_its_original(tag, promised, original):
    assert promised_tag(request(tag=tag), settings()) == promised
    assert settings().original_tag(tag) == original


@pytest.mark.parametrize(
    ("suffix", "tag", "promised"),
    [
        (".0", "1.03", "1.03.0"),
        (".0", "1.0.3", None),  # .0 may have been added before .3
        ("soci", "1-social", None),
        ("soci", "1", "1soci"),
    ],
)
def test_a_suffix_counts_where_it_may_have_been_added(suffix, tag, promised):
    others = settings(tagging={"suffix": suffix})

    assert promised_tag(request(tag=tag), others) == promised
    assert bool(why_not_promised(request(tag=tag), others)) is (promised is None)


@pytest.mark.parametrize(
    "suffixes",
    [
        ["-soci"],
        ["-soci", "-lazy"],
        ["soci", "lazy"],
        ["-soci", "lazy"],
        ["-a", "a", "-a-a"],
        ["-soci", "-soci-v2"],
        [".0", "-0", "0"],
        ["-", "a"],
        ["-a", ".b", "c"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("tag", ["1", "1.0.3", "feature-social-login"])
def test_the_promised_tags_of_several_stacks_come_to_an_end(tag, suffixes):
    stacks = [settings(tagging={"suffix": suffix}) for suffix in suffixes]
    new, seen = {tag}, {tag}
    while new:
        new = {promised_tag(request(tag=one), stack) for one in new for stack in stacks} - {None} - seen
        seen |= new
        assert len(seen) < 100


@pytest.mark.parametrize("policy", ["replace", "digest-only"])
def test_other_policies_promise_no_tag(policy):
    others = settings(tagging={"policy": policy})

    assert promised_tag(request(), others) is None
    assert others.original_tag("1.4-soci") is None
