from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
import zstandard

from soci.oci import media_types
from soci.oci.annotations import PREFETCH_SOURCE, SOCI_IMAGE_LAYER_DIGEST
from soci.oci.digest import Digest, digest_of
from soci.places.layout.oci_layout import OciLayout
from soci.reasons import LeftOut, Reason
from soci.settings import WholeLayers, ZstdLayers
from soci.start.prefetch_source import UsedProfile, prefetch_source_digest
from soci.start.profile import FileRead, ReadRange, encode_profile, make_profile
from soci.verify import verify_image
from tests.builders import file, gzip_of, image_of, index_layer, layout_of, noise, tar_of, text, whiteout
from tests.recipes import (
    CONVERTED,
    blobs_of,
    convert_layout,
    create_in_layout,
    document_in,
    entries_in,
    settings_of,
)

SPAN = 65_536
LIBRARY = tar_of(
    file("lib/a", noise(6 * SPAN)),
    file("lib/b", noise(3 * SPAN)),
    file("lib/pad", noise(2 * SPAN)),
    file("lib/late", text(100)),
)
"""A plain tar, so span n begins at byte n * SPAN: content from byte 512, 6 * SPAN + 1024, ..., 11 * SPAN + 2048."""
PROGRAM = gzip_of(tar_of(file("bin/app", noise(3 * SPAN, "app"))))
SMALL = gzip_of(tar_of(file("etc/small", text(1000)), whiteout("lib/b")))


def read(path: str, *ranges: tuple[int, int, int]) -> FileRead:
    parts = tuple(ReadRange(start=start, end=end, first_ms=ms) for start, end, ms in ranges)
    times = [part.first_ms for part in parts] or [0]
    return FileRead(
        path=path.encode(), first_ms=times[0], last_ms=times[-1], ranges=parts, size_bytes=1 << 30
    )


def profile_of(*files: FileRead) -> UsedProfile:
    profile = make_profile(list(files))
    return UsedProfile(profile=profile, digest=digest_of(encode_profile(profile)))


START = profile_of(
    read("/bin/app", (0, 100, 0)),
    read("/lib/b", (2 * SPAN, 2 * SPAN + 10, 1)),
    read("/lib/gone", (0, 10, 2)),
    read("/lib/a", (3 * SPAN, 3 * SPAN + 10, 3), (0, 10, 4), (SPAN, SPAN + 9, 9)),
)
NEEDED = [(6, 6), (8, 8), (0, 1), (3, 3)]
"""Header and content of 'lib/b', then those of 'lib/a'."""


def convert_with(layout: Path, profile: UsedProfile | None, **options: Any):
    manifest = OciLayout(layout, tag="latest").fetch_root().digest
    return convert_layout(layout, profiles={manifest: profile} if profile else {}, **options)


def index_in(layout: Path) -> dict[str, Any]:
    [index] = [entry for entry in entries_in(layout) if entry.artifact_type == media_types.SOCI_INDEX_V2]
    return document_in(layout, index.digest)


def ranges_in(layout: Path) -> dict[str, list[tuple[int, int]]]:
    """The ranges of each prefetch artifact by the layer's digest, in the order of the index."""
    found = {}
    for entry in index_in(layout)["layers"]:
        if entry["mediaType"] == media_types.PREFETCH:
            spans = document_in(layout, entry["digest"])["prefetch_spans"]
            found[entry["annotations"][SOCI_IMAGE_LAYER_DIGEST]] = [
                (span["start_span"], span["end_span"]) for span in spans
            ]
    return found


@pytest.fixture
def layout(tmp_path):
    return layout_of(tmp_path / "layout", image_of(LIBRARY, PROGRAM))


def test_the_spans_of_a_start_are_listed_per_layer_in_the_order_of_need(layout):
    convert_with(layout, START)

    assert ranges_in(layout) == {str(digest_of(LIBRARY)): NEEDED, str(digest_of(PROGRAM)): [(0, 0)]}
    assert verify_image(OciLayout(layout, tag=CONVERTED)).is_sound


def test_the_result_says_what_came_of_the_profile(layout):
    [platform] = convert_with(layout, START).platforms

    use = platform.profile
    assert use is not None
    assert (use.digest, use.files, use.missing) == (START.digest, 4, (b"/lib/gone",))
    assert use.needed_bytes == use.prefetched_bytes > 5 * SPAN
    assert use.left_off_spans == 0


def test_the_budget_bounds_what_is_prefetched(layout):
    [platform] = convert_with(layout, START, prefetch_budget_bytes=2 * SPAN).platforms

    assert platform.profile is not None
    assert 0 < platform.profile.prefetched_bytes <= 2 * SPAN < platform.profile.needed_bytes
    assert platform.profile.left_off_spans == 5
    assert ranges_in(layout) == {str(digest_of(PROGRAM)): [(0, 0)]}


def test_patterns_come_before_the_profile(layout):
    result = convert_with(layout, START, prefetch_patterns=("/lib/late", "/nothing"))

    assert ranges_in(layout)[str(digest_of(LIBRARY))] == [(11, 11), *NEEDED]
    assert result.platforms[0].unmatched_prefetch == ("/nothing",)


def test_files_of_a_layer_without_a_ztoc_are_found_and_need_nothing(tmp_path):
    layout = layout_of(tmp_path, image_of(LIBRARY, SMALL))
    profile = profile_of(
        read("/etc/small", (0, 10, 0)), read("/lib/b", (0, 10, 1)), read("/lib/a", (0, 1, 2))
    )

    [platform] = convert_with(layout, profile, min_layer_size_bytes=len(SMALL) + 1).platforms

    assert ranges_in(layout) == {str(digest_of(LIBRARY)): [(0, 0)]}
    assert platform.profile is not None
    assert platform.profile.missing == (b"/lib/b",)


def test_a_profile_of_which_nothing_is_left_is_counted(layout):
    [platform] = convert_with(layout, profile_of(read("/lib/gone"))).platforms

    assert ranges_in(layout) == {}
    assert platform.profile is not None
    assert platform.profile.missing == (b"/lib/gone",)
    assert PREFETCH_SOURCE in index_in(layout)["annotations"]


def test_a_file_under_another_version_is_prefetched_in_its_place(tmp_path):
    layout = layout_of(
        tmp_path, image_of(tar_of(file("lib/pad", noise(SPAN)), file("lib/b-2.1.so", noise(SPAN))))
    )
    old = FileRead(path=b"/lib/b-2.0.so", first_ms=1, last_ms=1, size_bytes=SPAN + 9)

    [platform] = convert_with(layout, profile_of(old)).platforms

    use = platform.profile
    assert use is not None
    assert (use.missing, use.renamed) == ((b"/lib/b-2.0.so",), {b"/lib/b-2.0.so": b"/lib/b-2.1.so"})
    assert list(ranges_in(layout).values()) == [[(1, 2)]]


def test_a_repeated_layer_has_one_artifact_listed_twice(tmp_path):
    layout = layout_of(tmp_path, image_of(LIBRARY, PROGRAM, LIBRARY))

    convert_with(layout, START)

    listed = [entry for entry in index_in(layout)["layers"] if entry["mediaType"] == media_types.PREFETCH]
    assert [entry["annotations"][SOCI_IMAGE_LAYER_DIGEST] for entry in listed] == [
        str(digest_of(layer)) for layer in (LIBRARY, PROGRAM, LIBRARY)
    ]
    assert listed[0] == listed[2]
    assert ranges_in(layout)[str(digest_of(LIBRARY))] == NEEDED


class TestSource:
    def source_in(self, layout: Path) -> str | None:
        found: str | None = index_in(layout)["annotations"].get(PREFETCH_SOURCE)
        return found

    def test_an_index_says_which_profile_and_settings_decided_its_prefetch(self, layout):
        convert_with(layout, START, prefetch_patterns=("/lib/b",))

        settings = settings_of(prefetch_patterns=("/lib/b",))
        assert self.source_in(layout) == str(prefetch_source_digest(settings, START.digest))

    @pytest.mark.parametrize("patterns", [(), ("/lib/b",)], ids=["nothing", "patterns"])
    def test_without_a_profile_the_index_is_that_of_the_owner(self, layout, patterns):
        convert_with(layout, None, prefetch_patterns=patterns)

        assert self.source_in(layout) is None

    def test_an_index_of_version_1_says_so_too(self, layout):
        manifest: Digest = OciLayout(layout, tag="latest").fetch_root().digest

        result = create_in_layout(layout, profiles={manifest: START})

        assert result.root is not None
        annotations = document_in(layout, result.root.digest)["annotations"]
        assert annotations[PREFETCH_SOURCE] == str(prefetch_source_digest(settings_of(), START.digest))


class TestWholeLayers:
    WHOLE = profile_of(read("/bin/app"), read("/lib/b", (0, 10, 5)))
    AUTO: ClassVar[dict[str, Any]] = {"whole_layers": WholeLayers.AUTO}

    def indexed_in(self, layout: Path) -> list[str]:
        entries = index_in(layout)["layers"]
        return [
            entry["annotations"][SOCI_IMAGE_LAYER_DIGEST]
            for entry in entries
            if entry["mediaType"] == media_types.ZTOC
        ]

    def test_a_layer_that_the_start_reads_whole_loses_its_ztoc(self, layout):
        result = convert_with(layout, self.WHOLE, **self.AUTO)

        assert self.indexed_in(layout) == [str(digest_of(LIBRARY))]
        assert ranges_in(layout).keys() == {str(digest_of(LIBRARY))}
        [[_, program]] = result.layers
        left_out = LeftOut(reason=Reason.READ_WHOLE, detail=f"100% of {len(PROGRAM)} bytes")
        assert program.outcome == left_out == result.platforms[0].parts[1].outcome
        assert verify_image(OciLayout(layout, tag=CONVERTED)).is_sound

    def test_its_ztoc_is_not_written(self, layout):
        convert_with(layout, self.WHOLE, **self.AUTO)

        assert str(index_layer(PROGRAM).digest) not in blobs_of(layout)
        assert str(index_layer(LIBRARY).digest) in blobs_of(layout)

    def test_unless_asked_for_each_layer_keeps_its_ztoc(self, layout):
        convert_with(layout, self.WHOLE)

        assert self.indexed_in(layout) == [str(digest_of(layer)) for layer in (LIBRARY, PROGRAM)]

    def test_without_a_profile_nothing_is_left_whole(self, layout):
        plain, auto = convert_layout(layout).root, convert_layout(layout, **self.AUTO).root

        assert plain == auto

    def test_if_all_layers_are_left_whole_there_is_no_index(self, tmp_path):
        layout = layout_of(tmp_path, image_of(PROGRAM))

        result = convert_with(layout, self.WHOLE, **self.AUTO)

        assert result.root is None
        assert result.platforms[0].index is None

    def test_all_occurrences_of_a_layer_are_left_whole(self, tmp_path):
        layout = layout_of(tmp_path, image_of(PROGRAM, LIBRARY, PROGRAM))

        convert_with(layout, self.WHOLE, **self.AUTO)

        assert self.indexed_in(layout) == [str(digest_of(LIBRARY))]

    def test_a_recompressed_layer_keeps_its_ztoc(self, tmp_path):
        zstd = zstandard.compress(tar_of(file("bin/app", noise(3 * SPAN, "app"))))
        types = {1: media_types.OCI_LAYER_ZSTD}
        layout = layout_of(tmp_path, image_of(LIBRARY, zstd, layer_types=types))

        convert_with(layout, self.WHOLE, zstd_layers=ZstdLayers.RECOMPRESS, **self.AUTO)

        assert len(self.indexed_in(layout)) == 2
