"""A removal from every kind of place deletes the whole index and nothing else."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from local.registry import Behaviour, Registry
from soci.build.recipe import convert, create_index
from soci.build.tagging import TagLeftAlone
from soci.errors import NotInImage, RegistryError, StorageError
from soci.image.copy import copy_trees
from soci.image.documents import fetch_image
from soci.index.manifest import EMPTY_CONFIG
from soci.oci import media_types
from soci.oci.reference import RegistryRef, parse_reference
from soci.places.layout.oci_layout import OciLayout
from soci.places.open import open_store
from soci.places.ports import ImageStore
from soci.places.registry.retry import Clock, RetryPolicy
from soci.upkeep.remove import RemovalResult, TaggedSource, Target, fetch_removal, remove_index
from soci.upkeep.remove.reachability import fetch_tree
from soci.verify import verify_image
from tests.builders import (
    Image,
    file,
    gzip_of,
    image_of,
    layout_of,
    multi_platform,
    noise,
    tar_of,
)
from tests.debian_registry import debian_registry, manifests_in
from tests.image_files import skopeo
from tests.recipes import run
from tests.registries import open_repository

SHARED = image_of(gzip_of(tar_of(file("shared", noise(150_000, "shared")))))
FIRST, SECOND = (
    image_of(gzip_of(tar_of(file(name, noise(150_000, name)))), platform="linux/arm64") for name in "ab"
)
ONE, TWO = multi_platform(SHARED, FIRST), multi_platform(SHARED, SECOND)
KINDS = ("docker-registry", "in memory, as ECR", "in memory, without referrers API", "OCI layout")


@dataclass(frozen=True)
class Place:
    """A repository or a layout, and the manifests in it."""

    name: str
    manifests: Callable[[], set[str]]

    def put(self, image: Image, tag: str, directory: Path) -> None:
        source = OciLayout(layout_of(directory, image), tag="latest")
        store = self.open(f":{tag}") if self.is_registry else OciLayout(self.path)
        copy_trees(source, store, (image.root,))
        store.push_root(image.root, tag)

    @property
    def is_registry(self) -> bool:
        return not self.name.startswith("oci:")

    @property
    def path(self) -> Path:
        return Path(self.name.removeprefix("oci:"))

    def manifests_but_of_lists(self) -> set[str]:
        """Return the manifests without the removal list and its config, which an interrupted last step leaves."""
        if self.is_registry:
            return self.manifests()
        contents = {name: (self.path / name).read_bytes() for name in self.manifests()}
        return {
            name
            for name, data in contents.items()
            if data != EMPTY_CONFIG.data and media_types.REMOVAL.encode() not in data[:500]
        }

    def index(self, tag: str, *recipes: Any, to: str | None = None, **options: Any) -> None:
        for recipe in recipes:
            store = self.open(f":{tag}")
            run(recipe, store, store, tag=(to or f"{tag}-soci") if recipe is convert else None, **options)

    def open(self, reference: str) -> ImageStore:
        """Open an image without pauses between retries."""
        parsed = parse_reference(self.name + reference)
        if isinstance(parsed, RegistryRef):
            return open_repository(parsed, retries=RetryPolicy(clock=Clock(sleep=lambda _: None)))
        return open_store(parsed)

    def target(self, reference: str) -> Target:
        store = self.open(reference)
        tag = reference.removeprefix(":") if reference.startswith(":") else None
        converted = TaggedSource(source=self.open(f"{reference}-soci"), tag=f"{tag}-soci") if tag else None
        return Target(store=store, image=fetch_image(store), tag=tag, converted=converted)

    def remove(self, tag: str) -> RemovalResult:
        target = self.target(f":{tag}")
        return remove_index(target, fetch_removal(target))

    def root(self, tag: str) -> str | None:
        try:
            return str(self.open(f":{tag}").fetch_root().digest)
        except NotInImage:
            return None

    def is_complete(self, tag: str) -> bool:
        """Whether everything that the tag leads to exists."""
        store = self.open(f":{tag}")
        root = store.fetch_root()
        return all(map(store.has_blob, fetch_tree(store, root, store.fetch_manifest(root))))

    def is_whole(self, tag: str, directory: Path) -> bool:
        """Whether skopeo copies all platforms, and `verify` finds no problem."""
        scheme = "docker://" if self.is_registry else ""
        flag = ["--src-tls-verify=false"] if self.is_registry else []
        skopeo("copy", "-q", "--all", *flag, f"{scheme}{self.name}:{tag}", f"dir:{directory / tag}")
        return verify_image(self.open(f":{tag}")).findings == ()


@dataclass(frozen=True)
class Places:
    """Makes places of one kind, empty or as copies."""

    new: Callable[[], Place]
    copy: Callable[[Place], Place]


@pytest.fixture(scope="module", params=KINDS)
def places(request, tmp_path_factory) -> Iterator[Places]:
    numbers = itertools.count()
    directory = tmp_path_factory.mktemp("places")
    match request.param:
        case "docker-registry":
            with debian_registry(directory) as host:
                yield in_debian_s(host, directory, (f"app{number}" for number in numbers))
        case "OCI layout":
            yield on_disk(directory / str(number) for number in numbers)
        case kind:
            with Registry(Behaviour(rates={}, referrers_api="without" not in kind)) as registry:
                yield in_memory(registry, (f"app{number}" for number in numbers))


def in_debian_s(host: str, directory: Path, names: Iterator[str]) -> Places:
    def place(name: str) -> Place:
        return Place(f"{host}/{name}", lambda: manifests_in(directory, name))

    def copy(other: Place) -> Place:
        name, repositories = next(names), directory / "data/docker/registry/v2/repositories"
        shutil.copytree(repositories / other.name.removeprefix(f"{host}/"), repositories / name)
        return place(name)

    return Places(new=lambda: place(next(names)), copy=copy)


def in_memory(registry: Registry, names: Iterator[str]) -> Places:
    def place(name: str) -> Place:
        return Place(f"{registry.host}/{name}", lambda: set(registry.repository(name).manifests))

    def copy(other: Place) -> Place:
        name, content = next(names), registry.repository(other.name.removeprefix(f"{registry.host}/"))
        for kind in ("blobs", "manifests", "tags"):
            getattr(registry.repository(name), kind).update(getattr(content, kind))
        return place(name)

    return Places(new=lambda: place(next(names)), copy=copy)


def on_disk(paths: Iterator[Path]) -> Places:
    def place(path: Path) -> Place:
        return Place(f"oci:{path}", lambda: {str(file.relative_to(path)) for file in path.glob("blobs/*/*")})

    return Places(
        new=lambda: place(next(paths)), copy=lambda other: place(shutil.copytree(other.path, next(paths)))
    )


@pytest.fixture
def place(places, tmp_path) -> Place:
    """A place with two images that share the manifest of a platform."""
    place: Place = places.new()
    place.put(ONE, "1.0", tmp_path / "one")
    place.put(TWO, "2.0", tmp_path / "two")
    return place


@pytest.mark.parametrize(
    "recipes", [(convert,), (create_index,), (convert, create_index)], ids=["v2", "v1", "both"]
)
def test_a_removal_deletes_the_whole_index_and_keeps_the_image(place, tmp_path, recipes):
    before = place.manifests()
    place.index("1.0", *recipes)
    assert place.manifests() != before

    result = place.remove("1.0")

    assert result.is_done
    assert place.manifests() == before
    assert place.root("1.0-soci") is None
    assert place.is_whole("1.0", tmp_path)
    assert fetch_removal(place.target(":1.0")).is_empty


def test_documents_shared_with_another_converted_image_are_deleted_with_the_last_one(place, tmp_path):
    before = place.manifests()
    place.index("1.0", convert)
    place.index("2.0", convert)

    assert place.remove("1.0").is_done

    assert place.root("1.0-soci") is None
    assert place.is_whole("2.0-soci", tmp_path)
    assert place.remove("2.0").is_done
    assert place.manifests() == before


def test_each_tag_of_an_image_has_its_own_converted_image(place, tmp_path):
    before = place.manifests()
    place.put(ONE, "latest", tmp_path / "again")
    place.index("1.0", convert)
    place.index("latest", convert)

    assert place.remove("1.0").is_done

    assert place.root("1.0-soci") is None
    assert place.is_whole("latest-soci", tmp_path)
    assert place.remove("latest").is_done
    assert place.manifests() == before
    assert (place.root("1.0"), place.root("latest")) == (str(ONE.root.digest),) * 2


def test_a_version_1_index_is_removed_for_all_tags_of_its_image_and_they_are_named(place, tmp_path):
    before = place.manifests()
    place.put(ONE, "latest", tmp_path / "again")
    place.index("1.0", create_index)

    removal = fetch_removal(place.target(":latest"))

    assert removal.shared_with == ("1.0", "2.0")
    assert len(removal.manifests) == 2
    assert place.remove("latest").is_done
    assert place.manifests() == before


def test_a_version_1_index_of_the_converted_image_is_deleted_with_it(place):
    before = place.manifests()
    place.index("1.0", convert)
    place.index("1.0-soci", create_index)

    assert place.remove("1.0").is_done

    assert place.manifests() == before


def test_an_image_converted_under_its_own_tag_is_replaced_by_one_without_index(place, tmp_path):
    place.index("1.0", convert, to="1.0")
    place.index("1.0", convert, to="other")  # the same again

    assert place.remove("1.0").is_done

    assert place.root("1.0") == str(ONE.root.digest)
    assert place.is_whole("1.0", tmp_path)
    assert place.is_whole("other", tmp_path)
    assert verify_image(place.open(":other")).counts.soci_indexes == 2
    before = place.manifests()
    assert place.remove("other").is_done
    assert place.manifests() < before


def test_an_image_named_by_digest_is_kept_while_a_tag_leads_to_it(place):
    place.index("1.0", convert)
    root = place.root("1.0-soci")
    before = place.manifests()

    removal = fetch_removal(place.target(f"@{root}"))

    assert removal.is_empty
    assert set(removal.still_referenced.values()) == {("1.0-soci",)}
    assert place.manifests() == before


class Interrupted:
    """A store that fails right after one of the calls that change it."""

    def __init__(self, store: Any, number: int) -> None:
        self._store = store
        self._left = number

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        return self._counted(method) if name.startswith(("push_", "delete_")) else method

    def _counted(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self._left -= 1
            try:
                return method(*arguments, **options)
            finally:
                if self._left == 0:
                    raise StorageError("interrupted")

        return call


@pytest.mark.parametrize("other", ["2.0", "latest"], ids=["a manifest", "the root"])
def test_rerunning_an_interrupted_removal_finishes_it_and_keeps_shared_documents(
    places, place, tmp_path, other
):
    if other == "latest":
        place.put(ONE, other, tmp_path / "again")
    place.index("1.0", convert, create_index)
    place.index(other, convert)
    undisturbed = places.copy(place)
    assert undisturbed.remove("1.0").is_done
    for number in itertools.count(1):
        copy = places.copy(place)
        if not is_interrupted(copy.target(":1.0"), number):
            break
        assert copy.is_complete(f"{other}-soci")
        again = copy.target(":1.0")
        removal = fetch_removal(again)
        assert removal.is_empty or remove_index(again, removal).is_done
        assert copy.root("1.0-soci") is None
        assert copy.manifests_but_of_lists() == undisturbed.manifests_but_of_lists(), f"step {number}"
    assert number > 5


def is_interrupted(target: Target, number: int) -> bool:
    store: Any = Interrupted(target.store, number)
    try:
        remove_index(replace(target, store=store), fetch_removal(target))
    except StorageError:
        return True
    return False


def test_rerunning_finishes_the_removal_from_an_image_under_its_own_tag(places, place):
    before = place.manifests_but_of_lists()
    place.index("1.0", convert, to="1.0")
    for number in itertools.count(1):
        copy = places.copy(place)
        if not is_interrupted(copy.target(":1.0"), number):
            break
        target = copy.target(":1.0")
        removal = fetch_removal(target)
        assert removal.is_empty or remove_index(target, removal).is_done
        assert copy.root("1.0") == str(ONE.root.digest)
        assert copy.manifests_but_of_lists() == before, f"interrupted at step {number}"
    assert number > 5


def test_a_tag_that_moved_meanwhile_is_not_changed(place):
    place.index("1.0", convert, to="1.0")
    target = place.target(":1.0")
    removal = fetch_removal(target)
    pushed = place.open(":2.0").fetch_root()
    place.open(":1.0").push_root(pushed, "1.0")
    before = place.manifests()

    result = remove_index(target, removal)

    assert result.left_alone is TagLeftAlone.SOURCE_MOVED
    assert place.root("1.0") == str(pushed.digest)
    assert place.manifests() == before


def test_a_converted_image_that_was_replaced_meanwhile_is_kept(place, tmp_path):
    place.index("1.0", convert)
    target = place.target(":1.0")
    removal = fetch_removal(target)
    place.index("1.0", convert, span_size_bytes=131_072)

    result = remove_index(target, removal)

    assert result.left_alone is TagLeftAlone.SOURCE_MOVED
    assert place.is_whole("1.0-soci", tmp_path)


# What registries refuse


def test_a_registry_without_deletion_is_unchanged_and_the_error_says_who_can_enable_it(tmp_path):
    with debian_registry(tmp_path, deletes=False) as host:
        [place] = [in_debian_s(host, tmp_path, iter(["app"])).new()]
        place.put(ONE, "1.0", tmp_path / "one")
        place.index("1.0", convert, create_index)
        before, tags = place.manifests(), {tag: place.root(tag) for tag in ("1.0", "1.0-soci")}

        for _ in range(2):
            with pytest.raises(RegistryError, match=r"status 405.* its operator can enable that"):
                place.remove("1.0")

        assert place.manifests() == before
        assert {tag: place.root(tag) for tag in tags} == tags
        assert len(fetch_removal(place.target(":1.0")).manifests) == 7


def test_manifests_that_the_registry_keeps_are_deleted_by_a_later_rerun(tmp_path):
    with Registry(Behaviour(rates={})) as registry:
        place = in_memory(registry, iter(["app"])).new()
        place.put(ONE, "1.0", tmp_path / "one")
        before = place.manifests()
        place.index("1.0", convert, platforms=["linux/amd64"])
        older = registry.repository("app").tags["1.0-soci"]
        place.index("1.0", convert)

        result = place.remove("1.0")

        assert not result.is_done
        assert all("referenced by manifest list" in one.error for one in result.refused)
        assert {str(one.digest) for one in result.refused} | {older} | before < place.manifests()
        del registry.repository("app").manifests[older]
        again = place.target(":1.0")
        assert fetch_removal(again).interrupted
        assert remove_index(again, fetch_removal(again)).is_done
        assert not [
            one for one in registry.repository("app").manifests.values() if "soci" in one.artifact_type
        ]
        assert set(registry.repository("app").tags) == {"1.0"}


def test_immutable_tags_can_be_deleted(tmp_path):
    with Registry(Behaviour(rates={}, immutable_tags=True)) as registry:
        place = in_memory(registry, iter(["app"])).new()
        for tag in ("1.0", "latest"):
            place.put(ONE, tag, tmp_path / tag)
        before = place.manifests()
        for tag in ("1.0", "latest"):
            place.index(tag, convert)

        assert place.remove("1.0").is_done
        assert set(registry.repository("app").tags) == {"1.0", "latest", "latest-soci"}
        assert place.remove("latest").is_done

        assert place.manifests() == before


def test_an_immutable_tag_keeps_its_index_and_the_result_says_so(tmp_path):
    behaviour = Behaviour(rates={}, immutable_tags=True)
    with Registry(behaviour) as registry:
        place = in_memory(registry, iter(["app"])).new()
        place.put(ONE, "source", tmp_path / "image")
        place.index("source", convert, to="1.0")
        tags = dict(registry.repository("app").tags)

        result = place.remove("1.0")

        assert result.left_alone is TagLeftAlone.IMMUTABLE
        assert registry.repository("app").tags == tags
        assert place.is_whole("1.0", tmp_path)
