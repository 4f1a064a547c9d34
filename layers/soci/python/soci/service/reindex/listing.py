"""The images of the account's repositories, a page at a time: what a re-index works on.

Repositories go by name, images in the pages of ECR's API, and within such a page by digest and tag. A place in that
order is kept between two pages, for hours if need be, and holds whatever comes or goes meanwhile: no image that was
there before the first page and stays is passed over. One that arrives meanwhile has its own event.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Self

from soci.errors import BlobMissing, IntegrityError, InvalidRequest, InvalidResponse, NotInImage
from soci.oci import media_types
from soci.oci.digest import Digest
from soci.oci.fields import Fields
from soci.oci.manifest import ImageIndex
from soci.places.cancellation import cancellable_threads
from soci.places.ports import ImageOpener
from soci.places.registry.ecr_api import MAX_PER_PAGE, EcrApi, EcrImage, ImagePage
from soci.service.filter.rules import matches
from soci.service.message_codec import Message, decode
from soci.service.reindex.candidates import Candidate, Examiner, converted_configs
from soci.service.reindex.request import ReindexRequest
from soci.service.settings.configuration import Configuration, UntaggedImages

MAX_IMAGES = 100
MAX_IMAGES_BYTES = 24 << 10
"""Of a page; what comes of its images has to fit into a state's 256 KiB beside it."""

MAX_LOOKS = 500
"""Images of which a call reads more than the list says. It then gives what it has, if only its place."""

MAX_LISTS = 100
"""Pages of the API that a call reads, likewise."""

MAX_KNOWN_INDEXES = 20_000
_AT_A_TIME = 8
_CHUNK = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Place(Message):
    """Where the next page begins: in a repository, on a page of the API, behind an image under one of its names."""

    repository: str
    mark: str | None = None
    """Of the page; None is the first one."""
    next_mark: str | None = None
    """Of the page behind, as it was when this one was begun; what has moved up since is on both."""
    after: tuple[str, str] | None = None
    """Digest and tag; None: the page is not begun."""
    is_second_try: bool = False
    """The API had forgotten a mark, and the repository was begun anew."""

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read it back. Raises `InvalidDocument` that names the path."""
        after = fields.strings("after")
        if len(after) not in (0, 2):
            raise fields.invalid("after", f"expected digest and tag, got {len(after)} texts")
        return decode(cls, fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Requests for some images, and where the next page begins; None: there is none."""

    images: tuple[Mapping[str, object], ...]
    next_place: Place | None


class Lister:
    """Lists images. Keeps what it has read of image indexes, for as long as the process lives."""

    def __init__(self, api: EcrApi, open_image: ImageOpener, configuration: Configuration) -> None:
        self._api = api
        self._open_image = open_image
        self._configuration = configuration
        self._parts: dict[Digest, tuple[Digest, ...]] = {}
        self._converted: dict[Digest, frozenset[Digest]] = {}

    def fetch_page(self, request: ReindexRequest, place: Place | None) -> Page:
        """Return the next images, at most `MAX_IMAGES` and maybe none; without a place the first ones.

        Raises:
            InvalidRequest: a repository that is named in full is not there, or the rules leave it out.
            SourceError: the registry or its API cannot be asked.
        """
        repositories = {one.name: one for one in self._api.fetch_repositories()}
        names = sorted(repositories)
        if place is None:
            self._check_named(request, names)
        with cancellable_threads(_AT_A_TIME) as pool:
            search = _Search(
                api=self._api,
                request=request,
                configuration=self._configuration,
                examiner=Examiner(
                    configuration=self._configuration,
                    open_image=self._open_image,
                    only_missing=request.only_missing,
                    may_move=lambda name, tag: repositories[name].may_move(tag),
                ),
                find_parts=cache(lambda name: self._find_parts(name, pool)),
                find_converted=cache(lambda name: self._find_converted(name, pool)),
                pool=pool,
            )
            return search.run(self._places(request, names, place))

    def _places(self, request: ReindexRequest, names: Sequence[str], place: Place | None) -> Iterator[Place]:
        """Yield where each of the repositories that are left begins."""
        for name in names:
            if self._is_meant(request, name) and (place is None or name >= place.repository):
                yield place if place and name == place.repository else Place(repository=name)

    def _is_meant(self, request: ReindexRequest, name: str) -> bool:
        rules = self._configuration.rules
        return request.means_repository(name) and matches(name, rules.repositories)

    def _check_named(self, request: ReindexRequest, names: Collection[str]) -> None:
        problems = []
        for at, name in request.named_repositories.items():
            if name not in names:
                problems.append(f"repositories[{at}]: there is no repository {name}")
            elif not self._is_meant(request, name):
                problems.append(f"repositories[{at}]: rules.repositories leave {name} out")
        if problems:
            raise InvalidRequest(f"request: {'; '.join(problems)}")

    def _find_parts(self, repository: str, pool: Executor) -> frozenset[Digest]:
        """Find what the image indexes of a repository are made of, by reading each of them once."""
        indexes = self._find_indexes(repository)
        if len(self._parts) > MAX_KNOWN_INDEXES:
            self._parts.clear()
        unknown = [digest for digest in indexes if digest not in self._parts]
        self._parts.update(
            zip(unknown, pool.map(lambda one: self._parts_of(repository, one), unknown), strict=True)
        )
        return frozenset(part for index in indexes for part in self._parts.get(index, ()))

    def _find_converted(self, repository: str, pool: Executor) -> frozenset[Digest]:
        """Find the configs of all images that have a SOCI-enabled one in a repository, under whatever name."""
        indexes = self._find_indexes(repository)
        if len(self._converted) > MAX_KNOWN_INDEXES:
            self._converted.clear()
        unknown = [digest for digest in indexes if digest not in self._converted]
        found = pool.map(lambda one: converted_configs(self._open_image(repository, str(one))), unknown)
        self._converted.update(zip(unknown, found, strict=True))
        return frozenset(config for index in indexes for config in self._converted.get(index, ()))

    def _find_indexes(self, repository: str) -> list[Digest]:
        mark: str | None = None
        indexes: list[Digest] = []
        while True:
            page = self._api.fetch_images(repository, only_tagged=False, page_token=mark)
            if page is None:
                raise _mark_refused(repository)
            indexes += [one.digest for one in page.images if media_types.is_index(one.media_type)]
            mark = page.next_token
            if mark is None:
                return indexes

    def _parts_of(self, repository: str, index: Digest) -> tuple[Digest, ...]:
        source = self._open_image(repository, str(index))
        try:
            data = source.fetch_manifest(source.fetch_root())
            entries = ImageIndex.parse(data, f"index {index}").manifests or ()
        except (NotInImage, BlobMissing, IntegrityError):
            return ()
        return tuple(entry.digest for entry in entries)


@dataclass(slots=True, kw_only=True)
class _Search:
    """One call: what it has found, and how much it has done for that."""

    api: EcrApi
    request: ReindexRequest
    configuration: Configuration
    examiner: Examiner
    find_parts: Callable[[str], frozenset[Digest]]
    find_converted: Callable[[str], frozenset[Digest]]
    pool: Executor
    images: list[Mapping[str, object]] = field(default_factory=list)
    size_bytes: int = 0
    looks: int = 0
    lists: int = 0

    def run(self, places: Iterable[Place]) -> Page:
        """Go through repositories until there is enough."""
        for place in places:
            stopped_at = self._search_repository(place)
            if stopped_at is not None:
                return Page(images=tuple(self.images), next_place=stopped_at)
        return Page(images=tuple(self.images), next_place=None)

    @property
    def _is_full(self) -> bool:
        return (
            len(self.images) >= MAX_IMAGES or self.size_bytes >= MAX_IMAGES_BYTES or self.looks >= MAX_LOOKS
        )

    def _search_repository(self, place: Place) -> Place | None:
        """Go on in a repository; return the place where there was enough, None at its end."""
        while not self._is_full and self.lists < MAX_LISTS:
            self.lists += 1
            page = self.api.fetch_images(
                place.repository,
                only_tagged=not self._takes_untagged,
                page_token=place.mark,
                limit=MAX_PER_PAGE if self.request.is_narrow else MAX_IMAGES,
            )
            if page is None:
                place = _begun_anew(place)
                continue
            if place.after is None:
                place = replace(place, next_mark=page.next_token)
            stopped_at = self._search_page(place, self._candidates(page, place))
            if stopped_at is not None:
                return stopped_at
            if place.next_mark is None:
                return None
            place = Place(
                repository=place.repository, mark=place.next_mark, is_second_try=place.is_second_try
            )
        return place

    def _search_page(self, place: Place, candidates: Sequence[Candidate]) -> Place | None:
        at = 0
        while at < len(candidates):
            if self._is_full:
                return place
            chunk = candidates[at : at + min(_CHUNK, MAX_IMAGES - len(self.images))]
            at += len(chunk)
            for candidate, is_wanted in zip(chunk, self._judge(chunk), strict=True):
                if is_wanted and self.size_bytes >= MAX_IMAGES_BYTES:
                    return place
                if is_wanted:
                    self.images.append(candidate.to_document())
                    self.size_bytes += len(json.dumps(self.images[-1]))
                place = replace(place, after=candidate.key)
        return None

    def _judge(self, chunk: Sequence[Candidate]) -> Iterator[bool]:
        verdicts = [self.examiner.judge(candidate) for candidate in chunk]
        in_doubt = [one for one, verdict in zip(chunk, verdicts, strict=True) if verdict is None]
        self.looks += len(in_doubt)
        converted: frozenset[Digest] = frozenset()
        if nameless := [one for one in in_doubt if self.examiner.seeks_nameless(one)]:
            converted = self.find_converted(nameless[0].repository)  # a chunk is of one repository
        looked = iter(self.pool.map(lambda one: self.examiner.examine(one, converted), in_doubt))
        for verdict in verdicts:
            yield next(looked) if verdict is None else verdict

    def _candidates(self, page: ImagePage, place: Place) -> list[Candidate]:
        """Return the images of a page under their names, as far as times and names tell, from the place on."""
        found = [
            Candidate(repository=place.repository, image=image, tag=tag, force=self.request.force)
            for image in page.images
            if self.request.means_push_at(image.pushed_at)
            for tag in self._names(image, place.repository)
        ]
        rest = (one for one in found if place.after is None or one.key > place.after)
        return sorted(rest, key=lambda one: one.key)

    @property
    def _takes_untagged(self) -> bool:
        rule = self.configuration.rules.untagged_images
        return self.request.takes_untagged and rule is UntaggedImages.INDEX

    def _names(self, image: EcrImage, repository: str) -> Iterator[str | None]:
        """Yield the tags of an image that are meant; None for one that has none, and is no part of another."""
        rules = self.configuration.rules
        for tag in image.tags:
            if self.request.means_tag(tag) and matches(tag, rules.tags):
                yield tag
        if not image.tags and self._takes_untagged and image.digest not in self.find_parts(repository):
            yield None


def _begun_anew(place: Place) -> Place:
    """Return the beginning of a repository whose mark is not known any longer; what is done is skipped soon."""
    if place.mark is None or place.is_second_try:
        raise _mark_refused(place.repository)
    return Place(repository=place.repository, is_second_try=True)


def _mark_refused(repository: str) -> InvalidResponse:
    return InvalidResponse(f"DescribeImages of {repository}: the mark of its next page is refused")
