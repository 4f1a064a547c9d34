"""How layers are built, with small wheels; tests/packaging checks the real ones."""

from __future__ import annotations

import base64
import hashlib
import os
import struct
import zipfile
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from infra.packaging import LAMBDA_ARM64, LAMBDA_X86_64, PackagingFailed, build_assets, this_machine
from infra.packaging import assets as assets_module
from infra.packaging.compiled import misfit_of
from infra.packaging.shelf import keep_tree
from infra.packaging.tree import files_in, read_tree
from infra.packaging.wheels import install_wheels

X86_64, AARCH64 = 62, 183
ARM64_TAG = "cp313-cp313-manylinux_2_17_aarch64"


def elf(machine: int) -> bytes:
    return b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack("<HH", 3, machine) + b"\0" * 44


class Index:
    """A folder of wheels, the only source that pip has here, and a lock of them."""

    def __init__(self, folder):
        self.folder = folder
        self.lock = folder / "requirements.txt"
        self.lock.touch()

    def add(self, name, files, *, tag="py3-none-any"):
        info = f"{name}-1.0.dist-info"
        notes = {
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
            f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
            f"{info}/LICENSE": "Do as you like.",
        }
        entries = {
            name: body.encode() if isinstance(body, str) else body for name, body in (files | notes).items()
        }
        record = [f"{path},{_record(body)},{len(body)}\n" for path, body in entries.items()]
        wheel = self.folder / f"{name}-1.0-{tag}.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            for path, body in entries.items():
                archive.writestr(path, body)
            archive.writestr(f"{info}/RECORD", "".join([*record, f"{info}/RECORD,,\n"]))
        self.require(name, wheel)

    def require(self, name, file):
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        with self.lock.open("a") as lock:
            lock.write(f"{name}==1.0 --hash=sha256:{digest}\n")


def _record(body):
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=").decode()


@pytest.fixture
def index(tmp_path, monkeypatch):
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return Index(folder)


def names_in(folder):
    return [str(file.relative_to(folder)) for file in files_in(folder)]


def keep(shelf, fill):
    return keep_tree(shelf, "layer", inputs=[b"the same"], fill=fill)


def test_a_layer_has_packages_with_licences_and_no_records_of_pip(index, tmp_path):
    index.add(
        "pure",
        {"pure/__init__.py": "x = 1\n", "pure-1.0.data/scripts/tool": "#!python\n", "pure/data.json": "{}"},
    )

    install_wheels(index.lock, target=LAMBDA_ARM64, into=tmp_path / "python")

    assert set(names_in(tmp_path / "python")) == {
        *(f"pure-1.0.dist-info/{name}" for name in ("LICENSE", "METADATA", "WHEEL")),
        "pure/__init__.py",
        "pure/data.json",
    }


def test_two_builds_give_the_same_bytes_times_and_modes(index, tmp_path):
    index.add("pure", {"pure/__init__.py": "x = 1\n", "pure/deep/er.py": ""})
    index.add("fast", {"fast.cpython-313-aarch64-linux-gnu.so": elf(AARCH64)}, tag=ARM64_TAG)
    trees = []
    for umask, shelf in ((0o022, tmp_path / "a"), (0o077, tmp_path / "elsewhere" / "b")):
        before = os.umask(umask)
        try:
            trees.append(keep(shelf, lambda tree: install_wheels(index.lock, target=LAMBDA_ARM64, into=tree)))
        finally:
            os.umask(before)

    one, two = ([*_facts(tree.path)] for tree in trees)
    assert one == two
    assert trees[0].digest == trees[1].digest
    assert trees[0].size_bytes == trees[1].size_bytes == sum(fact[3] for fact in one if fact[4])


def _facts(folder):
    for path in sorted([folder, *folder.rglob("*")]):
        status = path.stat()
        body = path.read_bytes() if path.is_file() else b""
        yield path.relative_to(folder), status.st_mode, status.st_mtime_ns, len(body), path.is_file(), body


def test_the_wheel_of_the_target_is_taken_not_that_of_this_machine(index, tmp_path):
    wheels = {
        LAMBDA_ARM64: ("fast.cpython-313-aarch64-linux-gnu.so", AARCH64, ARM64_TAG),
        LAMBDA_X86_64: ("fast.cpython-313-x86_64-linux-gnu.so", X86_64, "cp313-cp313-manylinux2014_x86_64"),
    }
    for name, machine, tag in wheels.values():
        index.add("fast", {name: elf(machine)}, tag=tag)
    _join_hashes(index.lock)

    for target, (name, _, _) in wheels.items():
        into = tmp_path / target.name
        install_wheels(index.lock, target=target, into=into)
        assert name in names_in(into)


def _join_hashes(lock):
    """The lock of one package with several wheels: one line with all of their hashes."""
    lines = lock.read_text().splitlines()
    lock.write_text(" ".join([lines[0], *(line.split(" ")[1] for line in lines[1:])]) + "\n")


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("fast.cpython-313-aarch64-linux-gnu.so", elf(X86_64), "ELF machine 62"),
        ("libfast.so.1", elf(X86_64), "ELF machine 62"),
        ("fast.cpython-312-aarch64-linux-gnu.so", elf(AARCH64), "another Python than 3.13"),
        ("fast.dylib", b"\xcf\xfa\xed\xfe", "ELF machine None"),
        ("fast.so", b"\x7fELF", "ELF machine None"),
    ],
    ids=["other-machine", "other-machine-library", "other-python", "other-system", "cut-short"],
)
def test_a_compiled_file_that_does_not_run_on_the_target_is_refused(tmp_path, name, body, said):
    (tmp_path / name).write_bytes(body)

    assert said in str(misfit_of(tmp_path / name, LAMBDA_ARM64))


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("fast.cpython-313-aarch64-linux-gnu.so", elf(AARCH64)),
        ("fast.abi3.so", elf(AARCH64)),
        ("libfast-1a2b.so.1.2", elf(AARCH64)),
        ("fast.py", b"x = 1"),
    ],
    ids=["module", "abi3", "library", "source"],
)
def test_a_file_that_runs_on_the_target_is_taken(tmp_path, name, body):
    (tmp_path / name).write_bytes(body)

    assert misfit_of(tmp_path / name, LAMBDA_ARM64) is None


def test_compiled_files_are_checked_whatever_their_wheel_claims(index, tmp_path):
    index.add("fast", {"fast/engine.so": elf(X86_64)}, tag=ARM64_TAG)

    with pytest.raises(PackagingFailed, match=r"engine\.so"):
        install_wheels(index.lock, target=LAMBDA_ARM64, into=tmp_path / "python")


def _source_only(index):
    archive = index.folder / "source-1.0.zip"
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr("source-1.0/setup.py", "raise SystemExit('must not run')")
    index.require("source", archive)


def _other_machine_only(index):
    index.add("fast", {"fast.so": elf(X86_64)}, tag="cp313-cp313-manylinux2014_x86_64")


def _later_glibc_only(index):
    index.add("fast", {"fast.so": elf(AARCH64)}, tag="cp313-cp313-manylinux_2_39_aarch64")


def _other_bytes(index):
    index.add("pure", {"pure.py": ""})
    index.lock.write_text(f"pure==1.0 --hash=sha256:{'0' * 64}\n")


def _no_hash(index):
    index.add("pure", {"pure.py": ""})
    index.lock.write_text("pure==1.0\n")


@pytest.mark.parametrize(
    "prepare",
    [_source_only, _other_machine_only, _later_glibc_only, _other_bytes, _no_hash],
    ids=["source-only", "other-machine", "later-glibc", "other-bytes", "no-hash"],
)
def test_a_wheel_that_is_not_in_the_lock_or_not_for_the_target_is_refused(index, tmp_path, prepare):
    prepare(index)

    with pytest.raises(PackagingFailed, match="cannot be built from"):
        install_wheels(index.lock, target=LAMBDA_ARM64, into=tmp_path / "python")


def test_without_an_index_the_error_says_what_to_do(index, tmp_path):
    index.lock.write_text(f"absent==1.0 --hash=sha256:{'0' * 64}\n")

    with pytest.raises(PackagingFailed) as caught:
        install_wheels(index.lock, target=LAMBDA_ARM64, into=tmp_path / "python")

    said = str(caught.value)
    assert "No matching distribution found for absent==1.0" in said
    assert "pip config list" in said
    assert "make layers" in said


def test_a_tree_is_built_once(tmp_path):
    first = keep(tmp_path, lambda tree: (tree / "a").write_text("1"))

    assert keep(tmp_path, lambda _: pytest.fail("built again")) == first


def test_other_inputs_give_another_tree(tmp_path):
    trees = [
        keep_tree(tmp_path, "layer", inputs=inputs, fill=lambda tree: (tree / "a").touch())
        for inputs in ([b"ab"], [b"a", b"b"], [b"ba"])
    ]

    assert len({tree.path for tree in trees}) == 3


@pytest.mark.parametrize("harm", ["change", "remove", "add"])
def test_a_tree_that_was_changed_is_built_again(tmp_path, harm):
    first = keep(tmp_path, lambda tree: (tree / "a").write_text("1"))
    match harm:
        case "change":
            (first.path / "a").write_text("2")
        case "remove":
            (first.path / "a").unlink()
        case "add":
            (first.path / "__pycache__").mkdir()
            (first.path / "__pycache__" / "a.pyc").touch()

    again = keep(tmp_path, lambda tree: (tree / "a").write_text("1"))

    assert again == first
    assert names_in(tmp_path) == [f"{first.path.parent.name}/digest", f"{first.path.parent.name}/tree/a"]


def test_builds_side_by_side_do_not_disturb_each_other(tmp_path):
    together = Barrier(4)

    def fill(tree):
        (tree / "a").write_text("1")
        together.wait(timeout=30)
        (tree / "b").write_text("2")

    with ThreadPoolExecutor(4) as pool:
        trees = list(pool.map(lambda _: keep(tmp_path, fill), range(4)))

    assert len(set(trees)) == 1
    assert [path.name for path in tmp_path.iterdir()] == [trees[0].path.parent.name]
    assert names_in(trees[0].path) == ["a", "b"]


def test_a_build_that_fails_leaves_nothing(tmp_path):
    def fill(tree):
        (tree / "a").touch()
        raise PackagingFailed("no")

    with pytest.raises(PackagingFailed):
        keep(tmp_path, fill)

    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small(index, monkeypatch):
    """The real core and functions, on top of a small wheel."""
    index.add("pure", {"pure.py": "x = 1\n"})
    monkeypatch.setattr(assets_module, "_LOCK", index.lock)


@pytest.mark.usefixtures("small")
def test_assets_are_layers_and_functions_for_lambda(tmp_path, capsys):
    assets = build_assets(tmp_path, target=LAMBDA_ARM64)

    assert (assets.dependencies_layer / "python" / "pure.py").is_file()
    assert (assets.core_layer / "python" / "soci" / "service" / "settings" / "configuration.py").is_file()
    assert set(assets.functions) == {"image_filter", "index_builder", "image_lister", "outcome_recorder"}
    for folder in assets.functions.values():
        assert (folder / "handler.py").is_file()
    assert "of 150.00 MiB allowed (sha256 " in capsys.readouterr().err


@pytest.mark.usefixtures("small")
def test_the_second_build_needs_no_pip(tmp_path, monkeypatch):
    first = build_assets(tmp_path, target=this_machine())
    monkeypatch.delenv("PIP_FIND_LINKS")

    assert build_assets(tmp_path, target=this_machine()) == first


@pytest.mark.usefixtures("small")
def test_functions_and_core_are_the_same_for_every_target(tmp_path):
    arm64 = build_assets(tmp_path, target=LAMBDA_ARM64)
    x86_64 = build_assets(tmp_path, target=LAMBDA_X86_64)

    assert (arm64.core_layer, arm64.functions) == (x86_64.core_layer, x86_64.functions)
    assert arm64.dependencies_layer != x86_64.dependencies_layer


@pytest.mark.usefixtures("small")
def test_assets_above_the_limit_are_refused_with_their_sizes(tmp_path, monkeypatch):
    monkeypatch.setattr(assets_module, "MAX_UNPACKED_BYTES", 1 << 18)

    with pytest.raises(
        PackagingFailed, match=r"too large: dependencies 0\.00 MiB, core .*of 0\.25 MiB allowed"
    ):
        build_assets(tmp_path, target=LAMBDA_ARM64)


@pytest.mark.usefixtures("small")
def test_the_core_comes_without_its_command_line_and_without_bytecode(tmp_path):
    core = read_tree(build_assets(tmp_path, target=LAMBDA_ARM64).core_layer)

    names = names_in(core.path)
    assert not [name for name in names if "cli" in name.split("/") or "__pycache__" in name]
    assert "python/soci/__main__.py" not in names
    assert "python/soci/__init__.py" in names


@pytest.mark.usefixtures("small")
def test_a_function_without_handler_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(assets_module, "_FUNCTIONS", ("image_filter", "image_painter"))

    with pytest.raises(PackagingFailed, match=r"image_painter: has no handler\.py"):
        build_assets(tmp_path, target=LAMBDA_ARM64)
