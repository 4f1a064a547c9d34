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

from local.registry import Behaviour, Registry
from soci.layout.oci_layout import OciLayout
from soci.oci import media_types
from soci.verify import verify_image
from tests.builders import file, gzip_of, image_of, layout_of, noise, tar_of

SOCI_INDEX = Path(sys.executable).with_name("soci-index")
SMALL_FILE = b"name=value\n"


def soci_index(*arguments: object) -> Any:
    done = subprocess.run([SOCI_INDEX, *map(str, arguments), "--json"], capture_output=True, check=True)
    return json.loads(done.stdout)


def test_a_small_file_of_a_hundred_megabytes_costs_the_documents_the_ztoc_and_one_span():
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

        requests = [seen for seen in registry.requests if seen.method == "GET"]
        ztoc = converted["layers"][0]["ztoc"]
        kinds = [seen.path.split("/")[3] for seen in requests if seen.path.startswith("/v2/app/")]

    assert len(layer) > 100 << 20
    assert read["sha256"] == hashlib.sha256(SMALL_FILE).hexdigest()
    assert kinds.count("manifests") == 3, "the image index, the image manifest, the SOCI index"
    assert sum(seen.sent_bytes for seen in requests) < ztoc["size_bytes"] + (10 << 20), "at most two spans"
    assert {seen.method for seen in registry.requests} == {"GET"}


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


def unpacked(layer: bytes) -> bytes:
    if layer[:4] == b"\x28\xb5\x2f\xfd":
        return zstandard.ZstdDecompressor().decompressobj().decompress(layer)
    return zlib.decompress(layer, 31)
