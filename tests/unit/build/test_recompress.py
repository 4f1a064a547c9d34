from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from soci.build import recipe as build
from soci.cli.terminal import progress_bars
from soci.errors import DigestMismatch, GzipError, InvalidOption
from soci.image.documents import Platforms, choose_images, fetch_image
from soci.index.document import document_of
from soci.oci import media_types
from soci.places.layout.oci_layout import OciLayout
from soci.settings import IndexSettings, ZstdLayers
from soci.upkeep.remove import TaggedSource, Target, fetch_removal, remove_index
from soci.verify import verify_image
from tests.builders import file, gzip_of, image_of, layout_of, noise, tar_of
from tests.recipes import files_of

GOLDEN = Path(__file__).parents[2] / "golden" / "images"
RECOMPRESS = IndexSettings(min_layer_size_bytes=0, zstd_layers=ZstdLayers.RECOMPRESS)


@pytest.fixture
def layout(tmp_path):
    path = tmp_path / "layout"
    shutil.copytree(GOLDEN / "oci-zstd-and-foreign-layers", path)
    return path


def run(recipe, path: Path, settings: IndexSettings = RECOMPRESS, tag: str | None = "latest-soci"):
    store = OciLayout(path, tag="latest")
    image = fetch_image(store)
    chosen = choose_images(image, Platforms.ALL)
    with progress_bars() as progress:
        return recipe(
            build.Run(
                source=store,
                sink=store,
                image=image,
                chosen=chosen,
                settings=settings,
                tag=tag,
                jobs=2,
                progress=progress,
            )
        )


def blobs(path: Path) -> dict[str, str]:
    found = (file for file in (path / "blobs" / "sha256").iterdir())
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in found}


def target_in(path: Path) -> Target:
    store = OciLayout(path, tag="latest")
    converted = TaggedSource(source=OciLayout(path, tag="latest-soci"), tag="latest-soci")
    return Target(store=store, image=fetch_image(store), tag="latest", converted=converted)


def test_a_recompressed_image_has_gzip_layers_and_the_same_config(layout):
    before = fetch_image(OciLayout(layout, tag="latest")).images[0].manifest

    run(build.convert, layout)

    after = fetch_image(OciLayout(layout, tag="latest-soci")).images[0].manifest
    assert after.config.digest == before.config.digest
    old, new = before.layers or (), after.layers or ()
    assert [media_types.as_gzip(layer.media_type) for layer in old] == [layer.media_type for layer in new]
    assert new[0].digest != old[0].digest
    assert new[1:] == old[1:]


def test_each_file_read_through_the_new_index_is_that_of_the_recompressed_layer(layout):
    run(build.convert, layout)

    report = verify_image(OciLayout(layout, tag="latest-soci"), compare_files=True)

    assert report.is_sound, report.findings
    assert (report.counts.ztocs, report.counts.files) == (3, 6)


def test_layers_that_become_the_same_gzip_are_written_once(tmp_path):
    tar = tar_of(file("big", noise(50_000)))
    layers = [zstandard.compress(tar, level) for level in (1, 19)]
    assert layers[0] != layers[1]
    types = dict.fromkeys((0, 1), media_types.OCI_LAYER_ZSTD)
    path = layout_of(tmp_path / "layout", image_of(*layers, layer_types=types))

    run(build.convert, path)

    first, second = fetch_image(OciLayout(path, tag="latest-soci")).images[0].manifest.layers or ()
    assert first == second
    found = [file for file in files_of(path) if "blobs/sha256/" in file]
    assert all(len(Path(file).name) == 64 for file in found), "no upload is left over"


def test_recompressing_again_gives_the_same_digest(layout):
    assert run(build.convert, layout).root == run(build.convert, layout).root


def test_version_1_refuses_to_recompress_and_writes_nothing(layout):
    before = blobs(layout)

    with pytest.raises(InvalidOption, match="version 2"):
        run(build.create_index, layout)

    assert blobs(layout) == before


def test_a_recompressed_layer_with_another_tar_than_the_config_lists_is_refused(layout):
    store = OciLayout(layout, tag="latest")
    manifest = fetch_image(store).images[0].manifest
    config = json.loads(store.fetch_manifest(manifest.config))
    config["rootfs"]["diff_ids"].reverse()
    wrong = document_of(media_types.OCI_CONFIG, json.dumps(config).encode())
    changed = document_of(media_types.OCI_MANIFEST, replace(manifest, config=wrong.descriptor).encode())
    for document in (wrong, changed):
        store.push_blob(document.descriptor, (document.data,))
    store.push_root(changed.descriptor, "latest")
    before = blobs(layout)

    with pytest.raises(DigestMismatch, match="the image's config says"):
        run(build.convert, layout)

    assert blobs(layout) == before, "nothing is left of the copy"


def test_a_run_that_fails_after_recompressing_leaves_no_upload(tmp_path):
    damaged = gzip_of(tar_of(file("small", b"x" * 100)))[:-4]
    image = image_of(
        zstandard.compress(tar_of(file("big", noise(50_000)))),
        damaged,
        layer_types={0: media_types.OCI_LAYER_ZSTD},
    )
    path = layout_of(tmp_path / "layout", image)
    before = blobs(path)
    # Left out for its size, the damaged layer is read all the same: it may hide what is to be prefetched.
    settings = replace(RECOMPRESS, min_layer_size_bytes=len(damaged) + 1, prefetch_patterns=("/big",))

    with pytest.raises(GzipError):
        run(build.convert, path, settings)

    assert blobs(path) == before


@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN.iterdir() if path.is_dir()))
def test_removing_both_indexes_leaves_the_layout_as_it_was(tmp_path, name):
    path = tmp_path / "layout"
    shutil.copytree(GOLDEN / name, path)
    before = blobs(path)
    run(build.convert, path)
    run(build.create_index, path, IndexSettings(min_layer_size_bytes=0), tag=None)
    assert blobs(path) != before
    target = target_in(path)

    assert remove_index(target, fetch_removal(target)).is_done

    assert blobs(path) == before
    assert [root.annotations for root in OciLayout(path).fetch_roots()] == [
        {"org.opencontainers.image.ref.name": "latest"}
    ]


def test_an_image_indexed_under_its_own_tag_loses_the_index_and_keeps_its_layers(layout):
    before = fetch_image(OciLayout(layout, tag="latest")).images[0].manifest
    run(build.convert, layout, IndexSettings(min_layer_size_bytes=0), tag="latest")
    target = target_in(layout)

    remove_index(target, fetch_removal(target))

    store = OciLayout(layout, tag="latest")
    after = fetch_image(store)
    assert after.images[0].manifest.layers == before.layers
    assert not after.images[0].manifest.annotations
    assert verify_image(store).counts.soci_indexes == 0


def test_an_image_without_index_has_nothing_to_remove(layout):
    assert fetch_removal(target_in(layout)).is_empty
