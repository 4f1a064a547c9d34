"""What reading costs, and what recompressing keeps: at the sizes and with the tools that users have."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
import zstandard

from local.registry import OBJECTS, REGISTRY, Behaviour, Registry
from soci.oci import media_types
from soci.oci.digest import digest_of
from soci.oci.reference import parse_reference
from soci.places.layout.oci_layout import OciLayout
from soci.places.open import open_source
from soci.places.registry.blob_reader import StreamSettings
from soci.verify import verify_image
from soci.ztoc.decode import decode_ztoc
from tests.builders import file, gzip_of, image_of, layout_of, noise, tar_of
from tests.image_files import skopeo, skopeo_copy
from tests.registries import REGISTRIES, running_registry

SOCI_INDEX = Path(sys.executable).with_name("soci-index")
SMALL_FILE = b"name=value\n"


def soci_index(*arguments: object) -> Any:
    done = subprocess.run([SOCI_INDEX, *map(str, arguments), "--json"], capture_output=True, check=True)
    return json.loads(done.stdout)


def test_a_small_file_of_a_hundred_megabytes_costs_three_documents_the_ztoc_and_one_span():
    layer = gzip_of(
        tar_of(
            file("before", noise(60 << 20)), file("etc/app.conf", SMALL_FILE), file("after", noise(44 << 20))
        ),
        level=1,
    )
    image = image_of(layer)
    with Registry(Behaviour(rates={})) as registry:
        app = registry.repository("app")
        for digest, blob in image.blobs.items():
            if digest != image.root.digest:
                app.put_blob(blob)
        app.put_manifest(image.document, tag="1")
        converted = soci_index("convert", f"{registry.host}/app:1")
        registry.forget_requests()

        read = soci_index("cat", f"{registry.host}/app:1-soci", "/etc/app.conf")

        ztoc = decode_ztoc(app.blobs[converted["layers"][0]["ztoc"]["digest"]])
        requests = [(seen.origin, seen.method, seen.path.split("/")[-1]) for seen in registry.requests]
        sent = {seen.path.split("/")[-1]: seen.sent_bytes for seen in registry.requests}

    [of_file] = [one for one in ztoc.files if one.name == b"etc/app.conf"]
    start, end = of_file.uncompressed_offset, of_file.uncompressed_offset + of_file.uncompressed_size
    [span] = [
        one for one in ztoc.compression.spans if one.uncompressed_start < end and one.uncompressed_end > start
    ]
    [manifest_entry, index_entry] = json.loads(app.manifests[app.tags["1-soci"]].data)["manifests"]
    layer_digest, ztoc_digest = str(digest_of(layer)), converted["layers"][0]["ztoc"]["digest"]
    assert len(layer) > 100 << 20
    assert read["sha256"] == hashlib.sha256(SMALL_FILE).hexdigest()
    assert requests == [
        (REGISTRY, "GET", "1-soci"),
        (REGISTRY, "GET", manifest_entry["digest"]),
        (REGISTRY, "GET", index_entry["digest"]),
        (REGISTRY, "GET", ztoc_digest),
        (OBJECTS, "GET", ztoc_digest),
        (REGISTRY, "GET", layer_digest),
        (OBJECTS, "GET", layer_digest),
    ]
    assert sent[ztoc_digest] == len(app.blobs[ztoc_digest])
    assert sent[layer_digest] == span.end - span.start


SLOW_READER = """
import json, sys, time
from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.reference import parse_reference
from soci.places.open import open_source

def peak_bytes():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))

image, hex, size = sys.argv[1:]
layer = Descriptor(
    media_type=media_types.OCI_LAYER, digest=Digest(algorithm="sha256", hex=hex), size=int(size)
)
source, before, count = open_source(parse_reference(image)), peak_bytes(), 0
with source.open_blob(layer) as chunks:
    for number, chunk in enumerate(chunks):
        count += len(chunk)
        if number % 8 == 0:
            time.sleep(0.01)
print(json.dumps({"read": count, "more": peak_bytes() - before}))
"""


def test_a_slow_reader_of_a_large_layer_holds_no_more_than_the_window():
    window = StreamSettings().parallel_ranges * StreamSettings().range_size_bytes
    layer = noise(1 << 20) * 256
    with Registry(Behaviour(rates={})) as registry:
        registry.repository("app").put_blob(layer)
        reader = subprocess.run(
            [
                sys.executable,
                "-c",
                SLOW_READER,
                f"{registry.host}/app:1",
                digest_of(layer).hex,
                str(len(layer)),
            ],
            capture_output=True,
            check=True,
        )

    found = json.loads(reader.stdout)
    assert found["read"] == len(layer) == 8 * window
    assert found["more"] < 2 * window, "the window, and the code of what reads it"


@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
def test_skopeo_unpacks_the_recompressed_image_to_the_same_tars(tmp_path, docker):
    tars = [tar_of(file("bin/app", noise(3_000_000, "app"))), tar_of(file("etc/conf", b"x" * 500_000))]
    zstd = media_types.DOCKER_LAYER_ZSTD if docker else media_types.OCI_LAYER_ZSTD
    image = image_of(zstandard.compress(tars[0]), gzip_of(tars[1]), layer_types={0: zstd})
    layout = layout_of(tmp_path / "layout", image)

    soci_index("convert", f"oci:{layout}:latest", "--zstd", "recompress", "--min-layer-size", 0)

    for tag in ("latest", "latest-soci"):
        target = tmp_path / tag
        subprocess.run(
            ["skopeo", "--insecure-policy", "copy", "-q", f"oci:{layout}:{tag}", f"dir:{target}"], check=True
        )
        manifest = json.loads((target / "manifest.json").read_bytes())
        layers = [(target / one["digest"].partition(":")[2]).read_bytes() for one in manifest["layers"]]
        assert [unpacked(layer) for layer in layers] == tars, tag

    report = verify_image(OciLayout(layout, tag="latest-soci"), compare_files=True)
    assert report.is_sound, report.findings
    assert report.counts.ztocs == 2


@pytest.mark.parametrize("kind", REGISTRIES)
def test_an_image_is_recompressed_in_place_and_its_index_is_removed_again(tmp_path, kind):
    tars = [tar_of(file("bin/app", noise(6 << 20, "app"))), tar_of(file("etc/conf", b"x" * 500_000))]
    image = image_of(zstandard.compress(tars[0]), gzip_of(tars[1]))
    (tmp_path / "registry").mkdir()
    with running_registry(kind, tmp_path / "registry") as host:
        name = f"{host}/app"
        skopeo_copy(f"oci:{layout_of(tmp_path / 'layout', image)}:latest", f"{name}:1")
        soci_index("convert", f"{name}:1", "--zstd", "recompress", "--min-layer-size", 0)

        report = verify_image(open_source(parse_reference(f"{name}:1-soci")), compare_files=True)
        skopeo("copy", "-q", "--src-tls-verify=false", f"docker://{name}:1-soci", f"dir:{tmp_path / 'copy'}")
        removed = soci_index("remove", f"{name}:1")
        untouched = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{name}:1")

    manifest = json.loads((tmp_path / "copy/manifest.json").read_bytes())
    layers = [
        (tmp_path / "copy" / one["digest"].partition(":")[2]).read_bytes() for one in manifest["layers"]
    ]
    assert report.findings == ()
    assert (report.counts.ztocs, report.counts.files) == (2, 2)
    assert [layer[:2] for layer in layers] == [b"\x1f\x8b"] * 2
    assert [unpacked(layer) for layer in layers] == tars
    assert manifest["config"]["digest"] == json.loads(image.document)["config"]["digest"]
    assert (removed["tags"], len(removed["manifests"])) == (["1-soci"], 3)
    assert untouched.encode() == image.document


def unpacked(layer: bytes) -> bytes:
    if layer[:4] == b"\x28\xb5\x2f\xfd":
        return zstandard.ZstdDecompressor().decompressobj().decompress(layer)
    return zlib.decompress(layer, 31)
