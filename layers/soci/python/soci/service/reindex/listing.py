"""The images of the account's repositories, a page at a time. `Cursor` says in which order."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import cache

from soci.errors import InvalidRequest
from soci.oci.digest import Digest
from soci.places.cancellation import cancellable_threads
from soci.places.ports import ImageOpener
from soci.places.registry.ecr_api import MAX_PER_PAGE, EcrApi, EcrImage, ImagePage, token_refused
from soci.service.filter.rules import matches
from soci.service.reindex.candidates import Candidate, Evaluator
from soci.service.reindex.cursor import Cursor
from soci.service.reindex.image_indexes import ImageIndexes
from soci.service.reindex.request import ReindexRequest
from soci.service.settings.configuration import Configuration, UntaggedImages

MAX_IMAGES = 100
MAX_IMAGES_BYTES = 24 << 10
"""Of a page. The results of its images must fit into a state's 256 KiB beside it."""

MAX_LOOKS = 500
"""Images whose content one call reads. The call then returns the images that it has found, maybe none."""

MAX_LISTS = 100
"""Pages of the API that one call reads, likewise."""

_AT_A_TIME = 8
_CHUNK = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Requests for some images, and where the next page begins."""

    images: tuple[Mapping[str, object], ...]
    next_cursor: Cursor | None
    """None on the last page."""


class Lister:
    """Lists images. Keeps what it has read of image indexes."""

    def __init__(self, api: EcrApi, open_image: ImageOpener, configuration: Configuration) -> None:
        self._api = api
        self._open_image = open_image
        self._configuration = configuration
        self._indexes = ImageIndexes(api, open_image)

    def fetch_page(self, request: ReindexRequest, cursor: Cursor | None) -> Page:
        """Return the next images, at most `MAX_IMAGES` and maybe none; without a cursor the first ones.

        Raises:
            InvalidRequest: a repository that is named in full does not exist, or the rules leave it out.
            SourceError: the registry or its API cannot be read.
        """
        repositories = {one.name: one for one in self._api.fetch_repositories()}
        names = sorted(repositories)
        if cursor is None:
            self._check_named(request, names)
        with cancellable_threads(_AT_A_TIME) as pool:
            search = _Search(
                api=self._api,
                request=request,
                configuration=self._configuration,
                evaluator=Evaluator(
                    configuration=self._configuration,
                    open_image=self._open_image,
                    only_missing=request.only_missing,
                    may_move=lambda name, tag: repositories[name].may_move(tag),
                ),
                find_parts=cache(lambda name: self._indexes.find_parts(name, pool)),
                find_converted=cache(lambda name: self._indexes.find_converted(name, pool)),
                pool=pool,
            )
            return search.run(self._cursors(request, names, cursor))

    def _cursors(
        self, request: ReindexRequest, names: Sequence[str], cursor: Cursor | None
    ) -> Iterator[Cursor]:
        """Yield where to begin in each of the repositories that are left."""
        for name in names:
            if self._is_meant(request, name) and (cursor is None or name >= cursor.repository):
                yield cursor if cursor and name == cursor.repository else Cursor(repository=name)

    def _is_meant(self, request: ReindexRequest, name: str) -> bool:
        rules = self._configuration.rules
        return request.means_repository(name) and matches(name, rules.repositories)

    def _check_named(self, request: ReindexRequest, names: Collection[str]) -> None:
        problems = []
        for number, name in request.named_repositories.items():
            if name not in names:
                problems.append(f"repositories[{number}]: there is no repository {name}")
            elif not self._is_meant(request, name):
                problems.append(f"repositories[{number}]: rules.repositories leave {name} out")
        if problems:
            raise InvalidRequest(f"request: {'; '.join(problems)}")


@dataclass(slots=True, kw_only=True)
class _Search:
    """One call: the images found so far, and the work done for them."""

    api: EcrApi
    request: ReindexRequest
    configuration: Configuration
    evaluator: Evaluator
    find_parts: Callable[[str], frozenset[Digest]]
    find_converted: Callable[[str], frozenset[Digest]]
    pool: Executor
    images: list[Mapping[str, object]] = field(default_factory=list)
    size_bytes: int = 0
    looks: int = 0
    lists: int = 0

    def run(self, cursors: Iterable[Cursor]) -> Page:
        """Search repositories until the page is full."""
        for cursor in cursors:
            stopped_at = self._search_repository(cursor)
            if stopped_at is not None:
                return Page(images=tuple(self.images), next_cursor=stopped_at)
        return Page(images=tuple(self.images), next_cursor=None)

    @property
    def _is_full(self) -> bool:
        return (
            len(self.images) >= MAX_IMAGES or self.size_bytes >= MAX_IMAGES_BYTES or self.looks >= MAX_LOOKS
        )

    def _search_repository(self, cursor: Cursor) -> Cursor | None:
        """Search a repository from a cursor on; return where the page was full, None at the end of the repository."""
        while not self._is_full and self.lists < MAX_LISTS:
            self.lists += 1
            page = self.api.fetch_images(
                cursor.repository,
                only_tagged=not self._takes_untagged,
                page_token=cursor.page_token,
                limit=MAX_PER_PAGE if self.request.is_narrow else MAX_IMAGES,
            )
            if page is None:
                cursor = _begin_again(cursor)
                continue
            if cursor.after is None:
                cursor = replace(cursor, next_token=page.next_token)
            stopped_at = self._search_page(cursor, self._candidates(page, cursor))
            if stopped_at is not None:
                return stopped_at
            if cursor.next_token is None:
                return None
            cursor = replace(cursor, page_token=cursor.next_token, next_token=None, after=None)
        return cursor

    def _search_page(self, cursor: Cursor, candidates: Sequence[Candidate]) -> Cursor | None:
        """Take candidates until the page is full; return where, None if all were taken."""
        begin = 0
        while begin < len(candidates):
            if self._is_full:
                return cursor
            chunk = candidates[begin : begin + min(_CHUNK, MAX_IMAGES - len(self.images))]
            begin += len(chunk)
            for candidate, is_wanted in zip(chunk, self._evaluate(chunk), strict=True):
                if is_wanted and self.size_bytes >= MAX_IMAGES_BYTES:
                    return cursor
                if is_wanted:
                    self.images.append(candidate.to_document())
                    self.size_bytes += len(json.dumps(self.images[-1]))
                cursor = replace(cursor, after=candidate.key)
        return None

    def _evaluate(self, chunk: Sequence[Candidate]) -> Iterator[bool]:
        """Tell of each candidate whether it is worth a request. A chunk is of one repository."""
        listed = [self.evaluator.evaluate_listed(candidate) for candidate in chunk]
        in_doubt = [one for one, is_wanted in zip(chunk, listed, strict=True) if is_wanted is None]
        self.looks += len(in_doubt)
        converted: frozenset[Digest] = frozenset()
        if any(map(self.evaluator.needs_converted, in_doubt)):
            converted = self.find_converted(chunk[0].repository)
        evaluated = self.pool.map(lambda one: self.evaluator.evaluate_content(one, converted), in_doubt)
        for is_wanted in listed:
            yield next(evaluated) if is_wanted is None else is_wanted

    def _candidates(self, page: ImagePage, cursor: Cursor) -> list[Candidate]:
        """Return the images of a page under their tags, behind the cursor, whose times and tags are meant."""
        found = [
            Candidate(repository=cursor.repository, image=image, tag=tag, force=self.request.force)
            for image in page.images
            if self.request.means_push_at(image.pushed_at)
            for tag in self._tags(image, cursor.repository)
        ]
        rest = (one for one in found if cursor.after is None or one.key > cursor.after)
        return sorted(rest, key=lambda one: one.key)

    @property
    def _takes_untagged(self) -> bool:
        rule = self.configuration.rules.untagged_images
        return self.request.takes_untagged and rule is UntaggedImages.INDEX

    def _tags(self, image: EcrImage, repository: str) -> Iterator[str | None]:
        """Yield the requested tags of an image. Yield None for an untagged image that no image index lists."""
        rules = self.configuration.rules
        for tag in image.tags:
            if self.request.means_tag(tag) and matches(tag, rules.tags):
                yield tag
        if not image.tags and self._takes_untagged and image.digest not in self.find_parts(repository):
            yield None


def _begin_again(cursor: Cursor) -> Cursor:
    """Return the beginning of a repository whose page token the API has forgotten. What is indexed is skipped soon."""
    if cursor.page_token is None or cursor.is_second_try:
        raise token_refused(cursor.repository)
    return Cursor(repository=cursor.repository, is_second_try=True)
