from __future__ import annotations

from dataclasses import replace

import pytest

from soci.oci.digest import digest_of
from soci.oci.platform import Platform
from soci.settings import IndexSettings, WholeLayers
from soci.start.prefetch_source import UsedProfile, choose_profile, prefetch_source_digest
from soci.start.profile import make_profile

PROFILE = digest_of(b"profile")
SETTINGS = IndexSettings(prefetch_patterns=("/a", "/b"))


def used(platform: str | None) -> UsedProfile:
    profile = make_profile([], platform=Platform.parse(platform) if platform else None)
    return UsedProfile(profile=profile, digest=digest_of(str(platform).encode()))


class TestChoose:
    def test_a_profile_of_the_platform_comes_before_one_without_a_platform(self) -> None:
        profiles = [used(None), used("linux/arm64"), used("linux/amd64")]

        assert choose_profile(profiles, Platform.parse("linux/amd64")) == profiles[2]

    def test_a_profile_without_a_platform_is_for_all_that_have_none_of_their_own(self) -> None:
        profiles = [used("linux/arm64"), used(None)]

        assert choose_profile(profiles, Platform.parse("linux/amd64")) == profiles[1]

    def test_platforms_are_compared_by_their_usual_names(self) -> None:
        profiles = [used("linux/arm64")]

        assert choose_profile(profiles, Platform.parse("linux/aarch64")) == profiles[0]

    def test_a_profile_of_another_platform_is_not_taken(self) -> None:
        assert choose_profile([used("linux/arm64")], Platform.parse("linux/amd64")) is None


class TestDigest:
    def test_nothing_decides_without_profile_and_patterns(self) -> None:
        assert prefetch_source_digest(IndexSettings(), None) is None

    def test_equal_sources_have_equal_digests(self) -> None:
        assert prefetch_source_digest(SETTINGS, PROFILE) == prefetch_source_digest(replace(SETTINGS), PROFILE)

    @pytest.mark.parametrize(
        ("settings", "profile"),
        [
            (SETTINGS, digest_of(b"another")),
            (SETTINGS, None),
            (replace(SETTINGS, prefetch_patterns=("/b", "/a")), PROFILE),
            (replace(SETTINGS, prefetch_patterns=()), PROFILE),
            (replace(SETTINGS, prefetch_budget_bytes=1), PROFILE),
            (replace(SETTINGS, whole_layers=WholeLayers.AUTO), PROFILE),
            (replace(SETTINGS, start_first=True), PROFILE),
        ],
        ids=[
            "profile",
            "no profile",
            "order of patterns",
            "no patterns",
            "budget",
            "whole layers",
            "start first",
        ],
    )
    def test_each_part_counts(self, settings, profile) -> None:
        assert prefetch_source_digest(settings, profile) != prefetch_source_digest(SETTINGS, PROFILE)

    def test_paths_that_differ_in_bytes_that_are_no_utf_8_differ(self) -> None:
        one, other = (IndexSettings(prefetch_patterns=(path,)) for path in ("/\udc80", "/\udc81"))

        assert prefetch_source_digest(one, None) != prefetch_source_digest(other, None)

    def test_without_a_profile_budget_and_whole_layers_do_not_count(self) -> None:
        other = replace(SETTINGS, prefetch_budget_bytes=1, whole_layers=WholeLayers.AUTO)

        assert prefetch_source_digest(other, None) == prefetch_source_digest(SETTINGS, None)

    def test_span_size_and_the_like_do_not_count(self) -> None:
        other = replace(SETTINGS, span_size_bytes=1 << 20, min_layer_size_bytes=0)

        assert prefetch_source_digest(other, PROFILE) == prefetch_source_digest(SETTINGS, PROFILE)

    def test_the_digest_stays_from_release_to_release(self) -> None:
        # Another one has every index with a profile made again.
        stays = "sha256:7f286a768fe8671de05e3b202a86dcfe13fae9928e6fb09aff9d6e2ec0930ede"
        assert str(prefetch_source_digest(SETTINGS, PROFILE)) == stays
