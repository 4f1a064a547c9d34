"""Images of other tools are converted, and other tools accept the result.

umoci and buildah make the images, skopeo carries them between forms and checks each digest on the way, umoci
unpacks what comes out.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from soci.image.documents import host_platform
from soci.image.files import open_image_files
from soci.image.filesystem import shown
from soci.image.indexed import open_image
from soci.oci import media_types
from soci.oci.digest import digest_of
from soci.places.layout.oci_layout import OciLayout
from tests.builders import text
from tests.image_files import skopeo
from tests.recipes import blobs_of, document_in

FILES = {
    "bin/app": text(400_000, "app"),
    "etc/app.conf": b"answer = 42\n",
    "usr/lib/big.so": text(1_500_000, "big"),
    "usr/lib/empty": b"",
}
ADDED = {"usr/share/names/Straße": b"Bahnhofstra\xc3\x9fe\n", "etc/app.conf": b"answer = 43\n"}
DELETED = "usr/lib/empty"
CONTENT = {name: data for name, data in {**FILES, **ADDED}.items() if name != DELETED}


def run(*command: object) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("tools")


def write_tree(directory: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return directory


@pytest.fixture(scope="module")
def made_by_umoci(directory):
    """An image of three layers: files, more files, and a deletion."""
    image = f"{directory / 'umoci'}:app"
    run("umoci", "init", "--layout", directory / "umoci")
    run("umoci", "new", "--image", image)
    run("umoci", "config", "--image", image, "--os", "linux", "--architecture", host_platform().architecture)
    for name, files in (("first", FILES), ("second", ADDED)):
        run("umoci", "insert", "--rootless", "--image", image, write_tree(directory / name, files), "/")
    run("umoci", "insert", "--rootless", "--image", image, "--whiteout", f"/{DELETED}")
    return f"oci:{image}"


@pytest.fixture(scope="module")
def made_by_buildah(directory):
    """The same files in one layer, without what was deleted."""
    storage = ["--root", directory / "root", "--runroot", directory / "runroot", "--storage-driver", "vfs"]
    container = run("buildah", *storage, "from", "scratch").strip()
    run("buildah", *storage, "add", container, write_tree(directory / "merged", CONTENT), "/")
    run("buildah", *storage, "commit", "--format", "oci", container, f"oci:{directory / 'buildah'}:app")
    run("buildah", *storage, "rm", container)
    return f"oci:{directory / 'buildah'}:app"


def copied_by_skopeo(image: str, to: str) -> str:
    skopeo("copy", "--quiet", image, to)
    return to


@pytest.fixture(
    scope="module",
    params=[
        "umoci",
        "buildah",
        "skopeo oci",
        "skopeo oci-archive",
        "skopeo docker-archive",
        "buildah docker-archive",
    ],
)
def image(request, directory):
    """An image that none of our code has touched."""
    maker, _, form = request.param.partition(" ")
    source = request.getfixturevalue("made_by_buildah" if maker == "buildah" else "made_by_umoci")
    path = directory / f"{maker}-{form}"
    match form:
        case "":
            return source
        case "oci":
            return copied_by_skopeo(source, f"oci:{path}:app")
        case "oci-archive":
            return copied_by_skopeo(source, f"oci-archive:{path}:app")
        case _:
            return copied_by_skopeo(source, f"docker-archive:{path}:example.org/app:1.0")


@pytest.fixture(scope="module")
def converted(image, directory):
    """The layout that the conversion wrote."""
    path = directory / f"converted-{digest_of(image.encode()).hex[:8]}"
    run("soci-index", "convert", image, f"oci:{path}:soci", "--min-layer-size", "0", "--span-size", "512KiB")
    return path


def test_every_layer_is_indexed_and_the_image_is_sound(image, converted):
    report = json.loads(run("soci-index", "verify", f"oci:{converted}:soci", "--files", "--json"))
    [shown] = json.loads(run("soci-index", "inspect", f"oci:{converted}:soci", "--json"))["images"]

    assert report["sound"], report["findings"]
    assert report["findings"] == []
    assert all(layer["ztoc"] for layer in shown["layers"])
    assert len(shown["layers"]) == (1 if "buildah" in image else 3)
    assert shown["platform"] == str(host_platform())


def known_to_skopeo(index: bytes) -> dict[str, Any]:
    """An index as skopeo 1.9 copies it: it does not know the artifact type of entries."""
    document: dict[str, Any] = json.loads(index)
    for entry in document["manifests"]:
        entry.pop("artifactType", None)
    return document


def test_skopeo_copies_the_converted_image_whole_and_finds_nothing_wrong(converted, tmp_path):
    skopeo("copy", "--quiet", "--all", f"oci:{converted}:soci", f"dir:{tmp_path}")

    root = str(OciLayout(converted, tag="soci").fetch_root().digest)
    blobs = blobs_of(converted)
    copied = {path.name.removesuffix(".manifest.json"): path.read_bytes() for path in tmp_path.iterdir()}
    assert known_to_skopeo(copied.pop("manifest.json")) == known_to_skopeo(blobs.pop(root))
    del copied["version"]
    assert {f"sha256:{name}": data for name, data in copied.items()} == blobs


def test_skopeo_reads_the_new_root(converted):
    raw = skopeo("inspect", "--raw", f"oci:{converted}:soci").encode()

    root = OciLayout(converted, tag="soci").fetch_root()
    assert digest_of(raw) == root.digest
    assert len(raw) == root.size
    document = json.loads(raw)
    assert document["mediaType"] == media_types.OCI_INDEX
    assert len(document["manifests"]) == 2


def test_a_copy_in_another_layout_is_sound_and_converts_to_the_same_image(made_by_umoci, tmp_path):
    first, copy = f"oci:{tmp_path / 'first'}:soci", f"oci:{tmp_path / 'copy'}:soci"
    flags = ["--min-layer-size", "0", "--json"]
    made = json.loads(run("soci-index", "convert", made_by_umoci, first, *flags))
    skopeo("copy", "--quiet", "--all", first, copy)

    report = json.loads(run("soci-index", "verify", copy, "--json"))
    again = json.loads(run("soci-index", "convert", copy, *flags))

    assert report["findings"] == []
    assert report["counts"]["ztocs"] == 3
    assert again["digest"] == made["digest"]


def test_a_pull_of_one_platform_gets_the_image_and_not_its_index(converted, tmp_path):
    skopeo("copy", "--quiet", f"oci:{converted}:soci", f"oci:{tmp_path}:one")

    manifest = document_in(tmp_path, OciLayout(tmp_path, tag="one").fetch_root().digest)
    assert manifest["config"]["mediaType"] == media_types.OCI_CONFIG
    assert "com.amazon.soci.index-digest" in manifest["annotations"]


def test_umoci_unpacks_the_files_that_went_in(converted, tmp_path):
    skopeo("copy", "--quiet", f"oci:{converted}:soci", f"oci:{tmp_path / 'one'}:one")
    run("umoci", "unpack", "--rootless", "--image", f"{tmp_path / 'one'}:one", tmp_path / "bundle")

    rootfs = tmp_path / "bundle" / "rootfs"
    found = {str(path.relative_to(rootfs)): path.read_bytes() for path in rootfs.rglob("*") if path.is_file()}
    assert found == CONTENT


def test_files_are_read_through_the_index(converted):
    source = OciLayout(converted, tag="soci")
    opened = open_image(source)
    files = open_image_files(source, opened)

    assert all(layer.ztoc for layer in opened.layers)
    assert {
        shown(node.path)[1:]: b"".join(files.read(node)) for node in files.tree.walk() if node.type == "reg"
    } == (CONTENT)


def test_the_image_can_be_converted_in_place(made_by_umoci, directory, tmp_path):
    run("cp", "-a", directory / "umoci", tmp_path / "umoci")

    run("soci-index", "convert", f"oci:{tmp_path / 'umoci'}:app", "--min-layer-size", "0")

    tags = run("umoci", "list", "--layout", tmp_path / "umoci").split()
    assert made_by_umoci.endswith(":app")
    assert sorted(tags) == ["app", "app-soci"]
    skopeo("copy", "--quiet", "--all", f"oci:{tmp_path / 'umoci'}:app-soci", f"oci:{tmp_path / 'copy'}:app")
