"""The deployed functions on the version of Python that Lambda uses.

Where that is not installed they run on the Python of the tests; which one it was, is said in every run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra.packaging import LAMBDA_X86_64, this_machine
from local.registry import EcrLogin, Registry
from local.system.push import Pusher
from soci.service.settings.configuration import Configuration
from tests.aws_environment import variables_for
from tests.builders import MemorySource, file, gzip_of, image_of, noise, tar_of

VERSION = LAMBDA_X86_64.python_version
SETTINGS = {
    "rules": {"min_image_size_bytes": 0},
    "index": {"min_layer_size_bytes": 0, "span_size_bytes": 65536},
}
FUNCTIONS = ("image_filter", "index_builder", "image_lister", "outcome_recorder")
CALL = """
import json, sys
from types import SimpleNamespace
import handler
context = SimpleNamespace(
    function_name="f", memory_limit_in_mb=512, invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:f",
    aws_request_id="1", get_remaining_time_in_millis=lambda: 60_000)
answer = getattr(handler, sys.argv[1])(json.load(sys.stdin), context)
version = "{}.{}".format(*sys.version_info)
print("\\n" + json.dumps({"python": version, "answer": answer}))
"""


def pythons():
    """Programs that may be that Python: on the path, or in a folder of pyenv, whose shim may be inactive."""
    yield shutil.which(f"python{VERSION}")
    if shutil.which("pyenv"):
        root = subprocess.run(["pyenv", "root"], capture_output=True, text=True, check=False).stdout.strip()
        yield from map(str, sorted(Path(root).glob(f"versions/{VERSION}*/bin/python{VERSION}")))


def runs(python):
    done = subprocess.run([python, "-S", "-c", "pass"], capture_output=True, check=False)
    return done.returncode == 0


@pytest.fixture(scope="module")
def python():
    """A Python of Lambda's version; where there is none, the one that runs this, with the wheels for it."""
    if this_machine().elf_machine == LAMBDA_X86_64.elf_machine:
        for one in pythons():
            if one and runs(one):
                return one
    return sys.executable


@pytest.fixture(scope="module")
def assets(request, python):
    return request.getfixturevalue("here" if python == sys.executable else "x86_64")


def path_of(assets, folder):
    folders = (assets.functions[folder], assets.dependencies_layer / "python", assets.core_layer / "python")
    return os.pathsep.join(map(str, folders))


def call(python, assets, folder, name, *, event, registry):
    environment = {
        **variables_for(registry),
        "PYTHONPATH": path_of(assets, folder),
        "PYTHONDONTWRITEBYTECODE": "1",
        "SOCI_SETTINGS": json.dumps(Configuration.from_document(SETTINGS).to_document()),
        "SOCI_REGISTRY": registry.host,
        "SOCI_STACK": "soci-index-builder",
    }
    command = [python, "-S", "-P", "-s", "-c", CALL, name]
    done = subprocess.run(
        command, env=environment, input=json.dumps(event), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert python == sys.executable or told["python"] == VERSION
    return told["answer"]


def test_an_image_is_indexed_on_the_python_of_lambda(python, assets, printed):
    own = "" if python != sys.executable else f", since there is no Python {VERSION} here"
    printed.append(f"The packaged handlers run on {Path(python).name}{own}")
    with Registry(login=EcrLogin()) as registry:
        image = image_of(*(gzip_of(tar_of(file(name, noise(300_000, name)))) for name in ("a", "b")))
        with Pusher(registry.host, "team/app", registry.issue_password()) as pusher:
            pusher.push(MemorySource(image), "1.4")

        def ask(folder, name, event):
            return call(python, assets, folder, name, event=event, registry=registry)

        request = {"request": {"repository": "team/app", "tag": "1.4"}, "execution": "an-execution"}
        decision = ask("image_filter", "handler", request)
        of = {"repository": decision["repository"], "digest": decision["digest"]}
        layers = [
            ask("index_builder", "index_layer", {"image": of, "layer": layer}) for layer in decision["layers"]
        ]
        published = ask("index_builder", "publish_index", {**decision, "layers": layers})
        listed = ask("image_lister", "handler", {"request": {"repositories": ["team/*"]}})

    assert (published["outcome"], published["v2"]["tag"]) == ("indexed", "1.4-soci")
    assert published["read_back"]["ztocs"] == 2
    assert [(one["repository"], one["tag"]) for one in listed["images"]] == [("team/app", "1.4")]


@pytest.mark.parametrize("folder", FUNCTIONS)
def test_every_function_loads_on_the_python_of_lambda(python, assets, folder):
    command = [python, "-S", "-P", "-s", "-c", "import handler, zstandard.backend_c, zlib_ng.zlib_ng"]
    environment = {"PYTHONPATH": path_of(assets, folder), "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {"SOCI_REGISTRY": "registry.invalid", "SOCI_STACK": "soci-index-builder"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
