"""Events of the registry and requests of people, parsed to the image that they mean.

Three kinds of event are accepted (ECR user guide, "Amazon ECR events and EventBridge"): an image was pushed, replicated
from another registry, or pulled through from an upstream registry. Some fields may be absent: the tag of an untagged
image is empty, and only some events give media types.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from soci.errors import InvalidDocument, InvalidReference, InvalidRequest
from soci.oci.digest import Digest
from soci.oci.json_value import JsonValue, shown
from soci.oci.reference import TAG_FORM, RegistryRef
from soci.places.registry.ecr import parse_ecr_host
from soci.service.messages import ImageRequest, Origin

EVENT_SOURCE = "aws.ecr"
CONSOLE_FIELDS = ("repository", "tag", "digest", "force")
RETRY_FIELDS = ("outcome", "reason", "detail")
"""Added by a re-index to a request that failed, so that the request can be sent again as it is."""
LISTED_FIELD = "listed"
"""Says that a re-index found the image in a list. It may have been deleted since."""

_ANY_HOST = "localhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class _EventKind:
    origin: Origin
    wanted: Mapping[str, str]
    """Fields of the detail that say that an image arrived."""


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
    """Parse an event, or a request by hand: `{"repository", "tag" or "digest", "force"}`.

    `execution` is the name of the execution. It becomes the correlation id of a request that has no id of its own.

    Raises:
        InvalidRequest: naming every field that is missing, unknown or wrong.
    """
    problems: list[str] = []
    name = JsonValue(execution, "execution", problems).text()
    request: ImageRequest | None = None
    if not isinstance(document, Mapping):
        JsonValue(document, "", problems).refuse("an event or a request, which are objects")
    elif "detail-type" in document or "source" in document:
        request = _parse_event(JsonValue(document, "", problems))
    else:
        request = _parse_console_request(JsonValue(document, "", problems), document)
    if problems or request is None:
        raise InvalidRequest(f"request: {'; '.join(problems)}")
    return replace(request, correlation_id=request.correlation_id or name or None)


def _parse_event(event: JsonValue) -> ImageRequest | None:
    _require(event.member("source"), EVENT_SOURCE)
    detail_type, detail = event.member("detail-type"), event.member("detail")
    kind = EVENT_KINDS.get(detail_type.value) if isinstance(detail_type.value, str) else None
    if kind is None:
        detail_type.refuse(f"one of {', '.join(EVENT_KINDS)}")
        return None
    if not detail.is_object():
        return None
    for name, wanted in kind.wanted.items():
        _require(detail.member(name), wanted)
    known = len(event.problems)
    request = ImageRequest(
        repository=_parse_repository(detail.member("repository-name")),
        tag=_parse_tag(detail.member("image-tag")),
        digest=_parse_digest(detail.member("image-digest")),
        origin=kind.origin,
        pushed_at=_parse_time(event.member("time")),
        correlation_id=event.member("id").text() or None,
        media_type=detail.member("manifest-media-type").text(),
        artifact_type=detail.member("artifact-media-type").text(),
    )
    if request.tag is None and request.digest is None and len(event.problems) == known:
        detail.report("want image-tag or image-digest, got neither")
    return request


def _parse_console_request(request: JsonValue, names: Iterable[object]) -> ImageRequest:
    for name in names:
        if name not in (*CONSOLE_FIELDS, *RETRY_FIELDS, LISTED_FIELD):
            request.member(shown(name)).report(f"no such field, there are {', '.join(CONSOLE_FIELDS)}")
    known = len(request.problems)
    results = [request.member(name).text() for name in RETRY_FIELDS]
    is_forced, is_listed = request.member("force").flag(), request.member(LISTED_FIELD).flag()
    parsed = ImageRequest(
        repository=_parse_repository(request.member("repository")),
        tag=_parse_tag(request.member("tag")),
        digest=_parse_digest(request.member("digest")),
        force=is_forced,
        is_listed=is_listed or any(results),
    )
    if len(request.problems) == known and (parsed.tag is None) == (parsed.digest is None):
        request.report(f"tag, digest: got {'neither' if parsed.tag is None else 'both'}, want one of them")
    return parsed


def _require(field: JsonValue, wanted: str) -> None:
    if field.value != wanted:
        field.refuse(shown(wanted))


def _parse_repository(field: JsonValue) -> str:
    """Parse the name of a repository, which is required."""
    name = field.text()
    host, _, rest = name.partition("/")
    if rest and parse_ecr_host(host):
        field.refuse(f"the name alone, without its registry: {shown(rest)}")
    try:
        RegistryRef(host=_ANY_HOST, repository=name)
    except InvalidReference:
        if name or field.value in (None, ""):
            field.refuse("a name of lower-case letters, digits and . _ - /")
    return name


def _parse_tag(field: JsonValue) -> str | None:
    """Parse a tag; None when there is none, which may be written as an empty text."""
    tag = field.text() or None
    try:
        RegistryRef(host=_ANY_HOST, repository="any", tag=tag)
    except InvalidReference:
        field.refuse(f"a tag of {TAG_FORM}")
    return tag


def _parse_digest(field: JsonValue) -> Digest | None:
    text = field.text()
    try:
        return Digest.parse(text) if text else None
    except InvalidDocument as error:
        field.report(str(error))
        return None


def _parse_time(field: JsonValue) -> str | None:
    """Check a time and return it as it is written."""
    text = field.text()
    try:
        if text:
            datetime.fromisoformat(text)
    except ValueError:
        field.refuse("a time as of RFC 3339")
    return text or None
