from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from soci.errors import NotInImage, StorageError
from soci.index.prefetch import SpanRange, encode_prefetch
from soci.oci import annotations as keys
from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest, digest_of
from soci.oci.manifest import ImageIndex, ImageManifest
from soci.places.layout.oci_layout import OciLayout
from soci.verify import Severity, VerifyReport, verify_image
from soci.verify.contents import differences, read_contents
from soci.ztoc.decode import decode_ztoc
from tests.builders import (
    Image,
    MemorySource,
    directory,
    file,
    gzip_of,
    hardlink,
    image_of,
    index_layer,
    layout_of,
    multi_platform,
    noise,
    soci_index_of,
    special,
    symlink,
    tar_of,
    text,
    with_soci_index,
    with_soci_v1_index,
)
from tests.recipes import convert_layout, create_in_layout

FILES = tar_of(
    directory("d"),
    file("d/a", text(300_000)),
    file("d/empty"),
    file("b", noise(90_000), mtime=1.5),
    hardlink("h", "b"),
    symlink("s", "b"),
    file("last"),
)
OTHER_FILES = tar_of(directory("d"), file("d/a", text(300_000, "other")), file("b"))
LAYER = gzip_of(FILES)
PLAIN = tar_of(file("p", text(100_000)))
PREFETCH = b'{"version":"1.0","prefetch_spans":[{"start_span":0,"end_span":1}]}'
SOUND = with_soci_index(image_of(LAYER, PLAIN), prefetch={0: PREFETCH})


@pytest.fixture
def verified(tmp_path):
    def verify(image: Image, **options) -> VerifyReport:
        return verify_image(OciLayout(layout_of(tmp_path, image), tag="latest"), **options)

    return verify


def errors(report: VerifyReport) -> str:
    found = [finding for finding in report.findings if finding.severity is Severity.ERROR]
    return "\n".join(f"{finding.where}: {finding.what}" for finding in found)


def warnings(report: VerifyReport) -> str:
    found = [finding for finding in report.findings if finding.severity is Severity.WARNING]
    return "\n".join(f"{finding.where}: {finding.what}" for finding in found)


def soci_index(image: Image) -> tuple[ImageManifest, Descriptor]:
    """The SOCI index of an image, and its entry in the image index."""
    entry = (ImageIndex.parse(image.document).manifests or ())[-1]
    return ImageManifest.parse(image.blobs[entry.digest]), entry


def edited(image: Image, **changes: object) -> Image:
    """The image with another SOCI index that is bound to it."""
    index, blobs = soci_index_of(image)
    enabled = with_soci_index(image, document=replace(index, **changes).encode())  # type: ignore[arg-type]
    return replace(enabled, blobs={**blobs, **enabled.blobs})


@pytest.mark.parametrize("compare_files", [False, True])
def test_a_sound_image_has_no_findings(verified, compare_files):
    report = verified(SOUND, compare_files=compare_files)

    assert report.findings == ()
    assert report.is_sound


def test_checked_items_are_counted(verified):
    counts = verified(SOUND, compare_files=True).counts

    ztocs = [index_layer(LAYER), index_layer(PLAIN)]
    assert counts.manifests == 3
    assert counts.blobs == len(SOUND.blobs) - 3
    assert counts.bytes == sum(map(len, SOUND.blobs.values()))
    assert (counts.soci_indexes, counts.ztocs) == (1, 2)
    assert counts.spans == sum(ztoc.spans for ztoc in ztocs)
    assert counts.files == 5


@pytest.mark.parametrize(
    "image",
    [
        image_of(LAYER),
        image_of(zstandard.compress(FILES)),
        multi_platform(image_of(LAYER), image_of(PLAIN, platform="linux/arm64")),
        with_soci_index(image_of(LAYER), extra=image_of(PLAIN, platform="linux/arm64")),
        with_soci_index(image_of(LAYER, LAYER)),
        with_soci_index(image_of(gzip_of(FILES, members=9), gzip_of(FILES, level=0))),
        with_soci_index(image_of(gzip_of(FILES + noise(200_000)))),
    ],
    ids=["no-index", "zstd", "platforms", "one-platform-indexed", "repeated-layer", "members", "padded"],
)
def test_sound_images_of_any_kind_have_no_findings(verified, image):
    assert verified(image, compare_files=True).findings == ()


def test_an_index_of_version_1_is_checked_where_it_can_be_found(verified):
    report = verified(with_soci_v1_index(image_of(LAYER)), compare_files=True)

    assert report.findings == ()
    assert (report.counts.soci_indexes, report.counts.files) == (1, 4)


def test_an_index_that_only_a_digest_names_is_checked_where_it_can_be_found(verified):
    entries = ImageIndex.parse(SOUND.document).manifests or ()
    alone = replace(SOUND, root=entries[0])

    assert verified(alone).counts.soci_indexes == 1
    assert "which the image does not list" in errors(verify_image(MemorySource(alone)))


@pytest.mark.parametrize("number", range(len(SOUND.blobs)))
def test_every_damaged_blob_is_found(verified, number):
    digest, data = list(SOUND.blobs.items())[number]
    report = verified(SOUND.damaged(digest, data[:-1] + bytes((data[-1] ^ 1,))))

    assert not report.is_sound
    assert str(digest) in errors(report)


@pytest.mark.parametrize("number", range(len(SOUND.blobs)))
def test_every_cut_blob_is_found(verified, number):
    digest, data = list(SOUND.blobs.items())[number]
    report = verified(SOUND.damaged(digest, data[:-1]))

    assert str(digest) in errors(report)


@pytest.mark.parametrize("number", range(len(SOUND.blobs)))
def test_every_missing_blob_is_found(verified, number):
    digest = list(SOUND.blobs)[number]
    report = verified(SOUND.damaged(digest, None))

    assert str(digest) in errors(report)


def test_a_platform_that_was_not_copied_is_a_warning(verified):
    other = image_of(PLAIN, platform="linux/arm64")
    report = verified(with_soci_index(image_of(LAYER), extra=other).damaged(other.root.digest, None))

    assert report.is_sound
    assert "missing here" in warnings(report)


def two_platforms() -> tuple[Image, list[Digest]]:
    """An image of two platforms with a SOCI index each. Also the digests: image manifests first, then SOCI indexes."""
    halves = [
        with_soci_index(image_of(layer, platform=platform))
        for layer, platform in ((LAYER, "linux/amd64"), (PLAIN, "linux/arm64"))
    ]
    entries = [ImageIndex.parse(half.document).manifests or () for half in halves]
    in_order = [entries[0][0], entries[1][0], entries[0][1], entries[1][1]]
    index = ImageIndex(manifests=tuple(in_order)).encode()
    root = Descriptor(media_type=media_types.OCI_INDEX, digest=digest_of(index), size=len(index))
    blobs = {**halves[0].blobs, **halves[1].blobs, root.digest: index}
    return Image(root=root, blobs=blobs), [entry.digest for entry in in_order]


@pytest.mark.parametrize(
    ("missing", "is_sound"),
    [([1, 3], True), ([1], False), ([3], False), ([0, 1], False), ([0, 1, 2, 3], False)],
    ids=["a platform", "an image manifest", "a SOCI index", "all image manifests", "everything"],
)
def test_a_whole_platform_may_be_absent_but_not_half_of_one_nor_all(verified, missing, is_sound):
    image, digests = two_platforms()
    assert verified(image).findings == ()
    for number in missing:
        image = image.damaged(digests[number], None)

    report = verify_image(MemorySource(image))

    assert report.is_sound is is_sound
    assert all(str(digests[number]) in errors(report) + warnings(report) for number in missing)


def test_an_index_for_two_platforms_with_the_same_layers_is_sound(tmp_path):
    image = multi_platform(image_of(LAYER), image_of(LAYER, platform="linux/arm64"))
    convert_layout(layout_of(tmp_path, image))

    report = verify_image(OciLayout(tmp_path, tag="latest-soci"))

    assert report.findings == ()
    assert report.counts.soci_indexes == 1


def test_a_second_index_of_version_1_is_a_warning_that_names_the_first(tmp_path):
    layout = layout_of(tmp_path, image_of(LAYER))
    create_in_layout(layout)
    create_in_layout(layout, span_size_bytes=131_072)

    report = verify_image(OciLayout(layout, tag="latest"))

    assert report.is_sound
    assert "2 SOCI indexes of version 1; readers take the first, sha256:" in warnings(report)


def test_a_document_of_an_unknown_type_is_read_once_and_hashed(verified):
    document = b"anything"
    entry = Descriptor(media_type="text/plain", digest=digest_of(document), size=len(document))
    image = multi_platform(image_of(LAYER), extra=[entry, entry])
    image = replace(image, blobs={**image.blobs, entry.digest: document})

    assert verified(image).findings == ()
    assert verified(image).counts.manifests == 3
    assert str(entry.digest) in errors(verified(image.damaged(entry.digest, b"Anything")))


def test_a_missing_foreign_layer_is_a_warning(verified):
    image = image_of(LAYER, PLAIN, layer_types={1: media_types.OCI_FOREIGN_LAYER})
    report = verified(image.damaged(digest_of(PLAIN), None))

    assert report.is_sound
    assert "foreign layer" in warnings(report)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda document: document + b"\n", "changes its bytes"),
        (lambda document: document.replace(b",", b", ", 1), "changes its bytes"),
        (lambda document: document[:-1] + b',"artifactType":"x"}', "artifactType at the top"),
        (lambda document: document.replace(b"index.v2", b"index.v3"), "config media type"),
        (lambda _: b"{", "not valid JSON"),
    ],
    ids=["newline", "space", "artifact-type", "config-type", "broken"],
)
def test_an_index_that_a_reader_would_refuse_is_found(verified, change, problem):
    index, _ = soci_index(SOUND)

    assert problem in errors(
        verified(with_soci_index(image_of(LAYER, PLAIN), document=change(index.encode())))
    )


def test_an_index_that_says_it_is_for_another_image_is_found(verified):
    report = verified(with_soci_index(image_of(LAYER), image_manifest_digest=digest_of(b"another")))

    assert f"it says it is for {digest_of(b'another')}" in errors(report)


def test_an_index_of_version_1_for_another_image_is_not_taken(verified):
    image = with_soci_v1_index(image_of(LAYER))
    other = replace(image_of(PLAIN), referrers=image.referrers)

    assert verified(replace(other, blobs={**image.blobs, **other.blobs})).counts.soci_indexes == 0


def test_an_index_that_no_manifest_names_is_found(verified):
    enabled = with_soci_index(image_of(LAYER))
    _, entry = soci_index(enabled)
    plain = image_of(PLAIN, platform="linux/arm64")
    image = multi_platform(plain, extra=[entry])

    report = verified(replace(image, blobs={**enabled.blobs, **image.blobs}))

    assert "no image manifest names it" in errors(report)


def test_a_manifest_that_names_something_else_than_an_index_is_found(verified):
    image = image_of(LAYER)
    named = replace(
        ImageManifest.parse(image.document), annotations={keys.SOCI_INDEX_DIGEST: str(image.root.digest)}
    ).encode()
    root = Descriptor(media_type=media_types.OCI_MANIFEST, digest=digest_of(named), size=len(named))
    image = Image(root=root, blobs={**image.blobs, root.digest: named})

    assert "no readable SOCI index" in errors(verified(image))


@pytest.mark.parametrize(
    ("annotations", "problem"),
    [
        ({keys.SOCI_IMAGE_LAYER_DIGEST: ""}, "no ':' between"),
        ({keys.SOCI_IMAGE_LAYER_DIGEST: str(digest_of(b"x"))}, "which the image does not have"),
        ({keys.SOCI_IMAGE_LAYER_MEDIA_TYPE: "text/plain"}, "it says its layer is text/plain"),
        ({keys.SOCI_SPAN_SIZE: "4194304"}, "span size 65536, the index says 4194304"),
    ],
    ids=["no-layer", "another-layer", "another-type", "another-span-size"],
)
def test_a_wrong_annotation_of_a_ztoc_is_found(verified, annotations, problem):
    index, _ = soci_index_of(image_of(LAYER))
    (entry,) = index.layers or ()
    wrong = replace(entry, annotations={**entry.annotations, **annotations})

    assert problem in errors(verified(edited(image_of(LAYER), layers=(wrong,))))


def test_artifacts_that_readers_ignore_are_a_warning(verified):
    index, _ = soci_index_of(image_of(LAYER))
    (entry,) = index.layers or ()
    image = edited(image_of(LAYER), layers=(entry, replace(entry, media_type="text/plain")))

    assert "a type that readers ignore: text/plain" in warnings(verified(image))


def test_several_ztocs_for_one_layer_are_a_warning(verified):
    image = image_of(LAYER)
    (one,), blobs = soci_index_of(image)[0].layers or (), soci_index_of(image)[1]
    other_index, other_blobs = soci_index_of(image, span_size_bytes=131_072)
    (other,) = other_index.layers or ()
    both = edited(image, layers=(one, other))
    report = verified(replace(both, blobs={**blobs, **other_blobs, **both.blobs}))

    assert report.is_sound
    assert "the last counts" in warnings(report)
    assert report.counts.ztocs == 1


@pytest.mark.parametrize(
    ("artifact", "problem"),
    [
        (b'{"version":"2.0","prefetch_spans":[{"start_span":0,"end_span":0}]}', "version '2.0'"),
        (b'{"version":"1.0","prefetch_spans":[]}', "no spans"),
        (b'{"version":"1.0","prefetch_spans":[{"start_span":0,"end_span":99}]}', "0 to 99"),
        (b"[]", "expected object"),
    ],
    ids=["version", "empty", "outside", "not-an-object"],
)
def test_a_prefetch_artifact_that_a_reader_would_refuse_is_found(verified, artifact, problem):
    report = verified(with_soci_index(image_of(LAYER), prefetch={0: artifact}))

    assert problem in errors(report)
    assert str(digest_of(artifact)) in errors(report)


def test_the_ranges_of_a_start_may_stand_in_any_order(verified):
    artifact = encode_prefetch([SpanRange(start=1, end=1), SpanRange(start=0, end=0)])
    report = verified(with_soci_index(image_of(LAYER), prefetch={0: artifact.data}))

    assert report.findings == ()


def test_several_prefetch_artifacts_for_one_layer_are_a_warning(verified):
    image = image_of(LAYER)
    index, blobs = soci_index_of(image, prefetch={0: PREFETCH})
    other = encode_prefetch([SpanRange(start=0, end=0)])
    described = replace(other.descriptor, annotations=(index.layers or ())[-1].annotations)
    both = edited(image, layers=(*(index.layers or ()), described))
    report = verified(replace(both, blobs={**blobs, other.descriptor.digest: other.data, **both.blobs}))

    assert report.is_sound
    assert "several prefetch artifacts" in warnings(report)
    assert "the first counts" in warnings(report)


def test_a_prefetch_artifact_without_ztoc_is_found(verified):
    report = verified(with_soci_index(image_of(LAYER, PLAIN), prefetch={0: PREFETCH}, skip=[0]))

    assert "without zTOC" in errors(report)


def test_bytes_that_are_not_a_ztoc_are_found(verified):
    report = verified(with_soci_index(image_of(LAYER), ztocs={0: b"no zTOC at all"}))

    assert "zTOC" in errors(report)


@pytest.mark.parametrize("compare_files", [False, True])
def test_the_ztoc_of_another_layer_gives_a_bounded_list_of_errors(verified, compare_files):
    other = bytes(index_layer(gzip_of(tar_of(file("x", noise(3_000_000))))).ztoc)
    report = verified(with_soci_index(image_of(LAYER), ztocs={0: other}), compare_files=compare_files)

    assert "it is for a layer of" in errors(report)
    assert "20 errors" in errors(report)
    assert len(report.findings) == 21


def test_a_span_that_cannot_be_inflated_from_its_checkpoint_is_found(verified):
    ztoc = bytearray(index_layer(LAYER).ztoc)
    window = bytes(decode_ztoc(ztoc).compression.checkpoints[1].window)
    at = ztoc.index(window)
    ztoc[at - 1] = (ztoc[at - 1] + 3) % 8

    report = verified(with_soci_index(image_of(LAYER), ztocs={0: bytes(ztoc)}))

    assert "span 1" in errors(report)


def changed_ztoc(old: bytes, new: bytes) -> bytes:
    """LAYER's zTOC with a string replaced by another of the same length."""
    ztoc = bytes(index_layer(LAYER).ztoc)
    at = ztoc.rindex(old)  # the checkpoints' windows hold headers, too, and stand before the files
    assert len(old) == len(new)
    return ztoc[:at] + new + ztoc[at + len(old) :]


def test_a_ztoc_that_a_reader_would_refuse_is_found(verified):
    at = FILES.index(text(100))
    ztoc = changed_ztoc(at.to_bytes(8, "little"), (100).to_bytes(8, "little"))

    assert "a lazy reader refuses it" in errors(verified(with_soci_index(image_of(LAYER), ztocs={0: ztoc})))


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        (b"d/empty\0", b"d/other\0", "name"),
        (b"1970-01-01T00:00:01.5Z", b"1970-01-01T00:00:02.5Z", "mod_time"),
    ],
    ids=["name", "time"],
)
def test_a_ztoc_that_differs_from_the_tar_is_found_when_files_are_compared(verified, old, new, field):
    image = with_soci_index(image_of(LAYER), ztocs={0: changed_ztoc(old, new)})

    assert verified(image).is_sound
    assert f"differs from the tar's header in {field}" in errors(verified(image, compare_files=True))


@pytest.mark.parametrize(
    ("written", "is_same"),
    [("1970-01-01T01:00:01.5+01:00", True), ("1970-01-01T00:00:01.5+01:00", False), ("", False)],
    ids=["same-instant", "another-instant", "no-time"],
)
def test_times_are_compared_as_instants_whatever_their_zone(written, is_same):
    tar = read_contents([FILES])
    files = [entry._replace(mod_time=written) if entry.name == b"b" else entry for entry in tar.entries]

    assert (list(differences(files, tar.digests, tar)) == []) == is_same


def test_content_that_differs_from_the_tar_is_found_when_files_are_compared(verified):
    ztoc = bytearray(index_layer(LAYER).ztoc)
    window = bytes(decode_ztoc(ztoc).compression.checkpoints[1].window)
    at = ztoc.index(window)
    ztoc[at : at + len(window)] = bytes(len(window))
    image = with_soci_index(image_of(LAYER), ztocs={0: bytes(ztoc)})

    assert verified(image).is_sound
    found = errors(verified(image, compare_files=True))
    assert "file d/a of layer" in found
    assert "not that of the tar" in found
    assert "file b of" not in found


def ztoc_in_disguise(made_of: bytes, for_layer: bytes) -> bytes:
    """The zTOC of one plain layer, with the span digest of another of the same size."""
    old, new = (str(digest_of(layer)).encode() for layer in (made_of, for_layer))
    return bytes(index_layer(made_of).ztoc).replace(old, new)


def test_a_layer_that_no_ztoc_can_express_is_found_when_files_are_compared(verified):
    usual, odd = tar_of(file("a", b"x")), tar_of(special("a", b"7", data=b"x"))
    image = with_soci_index(image_of(odd), ztocs={0: ztoc_in_disguise(usual, odd)})

    assert verified(image).is_sound
    assert "a zTOC cannot express this layer" in errors(verified(image, compare_files=True))


def test_entries_that_are_missing_are_found_when_files_are_compared(verified):
    some, all_ = tar_of(file("a"), end_blocks=3), tar_of(file("a"), file("b"))
    image = with_soci_index(image_of(all_), ztocs={0: ztoc_in_disguise(some, all_)})

    assert verified(image).is_sound
    found = errors(verified(image, compare_files=True))
    assert "1 entries, the tar has 2" in found
    assert "1536 bytes of tar, it has 2048" in found


def test_many_different_files_give_a_bounded_list_of_errors(verified):
    mine, theirs = (tar_of(*(file(f"f{n}", mode=mode) for n in range(40))) for mode in (0o600, 0o644))
    image = with_soci_index(image_of(theirs), ztocs={0: ztoc_in_disguise(mine, theirs)})

    report = verified(image, compare_files=True)

    assert "file f0 of layer" in errors(report)
    assert "in mode" in errors(report)
    assert len(report.findings) == 21


def test_a_damaged_layer_is_named_when_files_are_compared(verified):
    damaged = SOUND.damaged(digest_of(LAYER), LAYER[:5000] + bytes(10) + LAYER[5010:])

    assert f"layer {digest_of(LAYER)}" in errors(verified(damaged, compare_files=True))


def test_what_is_no_image_raises(tmp_path):
    layout_of(tmp_path, SOUND)

    with pytest.raises(NotInImage):
        verify_image(OciLayout(tmp_path, tag="another"))


def test_a_place_that_cannot_be_read_raises(tmp_path):
    layout_of(tmp_path, SOUND)
    blob = tmp_path / "blobs" / "sha256" / digest_of(LAYER).hex

    class Unreadable(OciLayout):
        def fetch_range(self, descriptor: Descriptor, start: int, end: int) -> bytes:
            if Path(blob).name == descriptor.digest.hex:
                raise StorageError(f"{blob}: Input/output error")
            return super().fetch_range(descriptor, start, end)

    with pytest.raises(StorageError, match="Input/output error"):
        verify_image(Unreadable(tmp_path, tag="latest"))
