"""From what the registry or a person sends to the image that is meant.

Three kinds of event are taken (ECR user guide, "Amazon ECR events and EventBridge"): an image was pushed, replicated
here from another registry, or taken over from an upstream registry. Some fields need not be there: events about
untagged images have an empty tag, and only some name media types.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from soci.errors import InvalidDocument, InvalidReference, InvalidRequest
from soci.oci.digest import Digest
from soci.oci.reference import TAG_FORM, RegistryRef
from soci.places.registry.ecr import parse_ecr_host
from soci.service.messages import ImageRequest, Origin

EVENT_SOURCE = "aws.ecr"
CONSOLE_FIELDS = ("repository", "tag", "digest", "force")
RETRY_FIELDS = ("outcome", "reason", "detail")
"""What a re-index has added to a request that failed; such a request is taken as it is."""
LISTED_FIELD = "listed"
"""Says that a re-index found the image in a list, from which it may have gone since."""

_SHOWN_CHARACTERS = 60
_ANY_HOST = "localhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class _EventKind:
    origin: Origin
    wanted: Mapping[str, str]
    """Fields of the detail that tell that an image arrived."""


EVENT_KINDS: Mapping[str, _EventKind] = {
    "ECR Image Action": _EventKind(origin=Origin.PUSH, wanted={"result": "SUCCESS", "action-type": "PUSH"}),
    "ECR Replication Action": _EventKind(
        origin=Origin.REPLICATION, wanted={"result": "SUCCESS", "action-type": "REPLICATE"}
    ),
    "ECR Pull Through Cache Action": _EventKind(
        origin=Origin.PULL_THROUGH, wanted={"sync-status": "SUCCESS"}
    ),
}
"""By detail type."""


def parse_request(document: object, execution: object = None) -> ImageRequest:
    """Read an event, or a request by hand: `{"repository", "tag" or "digest", "force"}`.

    `execution` is the name of the one that it started, by which a request is known that has no id of its own.

    Raises:
        InvalidRequest: naming every field that is missing, unknown or wrong.
    """
    reader = _Reader(problems=[])
    name = reader.text(execution, "execution")
    if not isinstance(document, Mapping):
        reader.problems.append(f"got {_shown(document)}, want an event or a request, which are objects")
        request = None
    elif "detail-type" in document or "source" in document:
        request = _parse_event(document, reader)
    else:
        request = _parse_console_request(document, reader)
    if reader.problems or request is None:
        raise InvalidRequest(f"request: {'; '.join(reader.problems)}")
    return replace(request, correlation_id=request.correlation_id or name or None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    """Reads fields and collects what is wrong with them."""

    problems: list[str]

    def text(self, value: object, path: str) -> str:
        """Return a text; "" when it is absent or wrong."""
        if value is not None and not isinstance(value, str):
            self.problems.append(f"{path}: got {_shown(value)}, want a string")
        return value if isinstance(value, str) else ""

    def flag(self, value: object, path: str) -> bool:
        """Return yes or no; no when it is absent or wrong."""
        if value is not None and not isinstance(value, bool):
            self.problems.append(f"{path}: got {_shown(value)}, want true or false")
        return value is True

    def repository(self, value: object, path: str) -> str:
        """Return the name of a repository, which has to be there."""
        name = self.text(value, path)
        host, _, rest = name.partition("/")
        if rest and parse_ecr_host(host):
            self.problems.append(
                f"{path}: got {_shown(value)}, want the name alone, without its registry: {_shown(rest)}"
            )
        try:
            RegistryRef(host=_ANY_HOST, repository=name)
        except InvalidReference:
            if name or value in (None, ""):
                want = "a name of lower-case letters, digits and . _ - /"
                self.problems.append(f"{path}: got {_shown(value)}, want {want}")
        return name

    def tag(self, value: object, path: str) -> str | None:
        """Return a tag; None when there is none, which may be written as an empty text."""
        tag = self.text(value, path)
        try:
            RegistryRef(host=_ANY_HOST, repository="any", tag=tag or None)
        except InvalidReference:
            want = f"a tag of {TAG_FORM}"
            self.problems.append(f"{path}: got {_shown(value)}, want {want}")
        return tag or None

    def digest(self, value: object, path: str) -> Digest | None:
        """Return a digest, None when there is none."""
        text = self.text(value, path)
        try:
            return Digest.parse(text) if text else None
        except InvalidDocument as error:
            self.problems.append(f"{path}: {error}")
            return None

    def time(self, value: object, path: str) -> str | None:
        """Return a time as it is written; None when there is none."""
        text = self.text(value, path)
        try:
            if text:
                datetime.fromisoformat(text)
        except ValueError:
            self.problems.append(f"{path}: got {_shown(value)}, want a time as of RFC 3339")
        return text or None

    def equal(self, value: object, wanted: str, path: str) -> None:
        """Demand a certain text."""
        if value != wanted:
            self.problems.append(f"{path}: got {_shown(value)}, want {wanted!r}")


def _parse_event(event: Mapping[object, object], reader: _Reader) -> ImageRequest | None:
    reader.equal(event.get("source"), EVENT_SOURCE, "source")
    detail_type = event.get("detail-type")
    kind = EVENT_KINDS.get(detail_type) if isinstance(detail_type, str) else None
    if kind is None:
        reader.problems.append(
            f"detail-type: got {_shown(detail_type)}, want one of {', '.join(EVENT_KINDS)}"
        )
        return None
    detail = event.get("detail")
    if not isinstance(detail, Mapping):
        reader.problems.append(f"detail: got {_shown(detail)}, want an object")
        return None
    for name, wanted in kind.wanted.items():
        reader.equal(detail.get(name), wanted, f"detail.{name}")
    known = len(reader.problems)
    request = ImageRequest(
        repository=reader.repository(detail.get("repository-name"), "detail.repository-name"),
        tag=reader.tag(detail.get("image-tag"), "detail.image-tag"),
        digest=reader.digest(detail.get("image-digest"), "detail.image-digest"),
        origin=kind.origin,
        pushed_at=reader.time(event.get("time"), "time"),
        correlation_id=reader.text(event.get("id"), "id") or None,
        media_type=reader.text(detail.get("manifest-media-type"), "detail.manifest-media-type"),
        artifact_type=reader.text(detail.get("artifact-media-type"), "detail.artifact-media-type"),
    )
    if request.tag is None and request.digest is None and len(reader.problems) == known:
        reader.problems.append("detail: want image-tag or image-digest, got neither")
    return request


def _parse_console_request(document: Mapping[object, object], reader: _Reader) -> ImageRequest:
    reader.problems.extend(
        f"{_shown(name)}: no such field, there are {', '.join(CONSOLE_FIELDS)}"
        for name in document
        if name not in (*CONSOLE_FIELDS, *RETRY_FIELDS, LISTED_FIELD)
    )
    known = len(reader.problems)
    for name in RETRY_FIELDS:
        reader.text(document.get(name), name)
    is_forced = reader.flag(document.get("force"), "force")
    is_listed = reader.flag(document.get(LISTED_FIELD), LISTED_FIELD)
    request = ImageRequest(
        repository=reader.repository(document.get("repository"), "repository"),
        tag=reader.tag(document.get("tag"), "tag"),
        digest=reader.digest(document.get("digest"), "digest"),
        force=is_forced,
        is_listed=is_listed or any(document.get(name) for name in RETRY_FIELDS),
    )
    if len(reader.problems) == known and (request.tag is None) == (request.digest is None):
        got = "neither" if request.tag is None else "both"
        reader.problems.append(f"tag, digest: got {got}, want one of them")
    return request


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    text = repr(value) if isinstance(value, str | int | float) else f"a {type(value).__name__}"
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
