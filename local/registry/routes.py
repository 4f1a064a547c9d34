"""Route requests to operations, and check their login and rate limits."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

from local.registry import blobs, ecr_api, listings, manifests, uploads
from local.registry.login import TOKEN_PATH, Access, Login
from local.registry.messages import Refused, Request, Response, not_found
from local.registry.rates import RateLimits
from local.registry.service import Event, Service

_NAME = r"/v2/(?P<name>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
_SESSION = _NAME + r"/blobs/uploads/(?P<session>[^/]+)"
_BLOB = _NAME + r"/blobs/(?P<digest>[^/]+)"
_MANIFEST = _NAME + r"/manifests/(?P<reference>[^/]+)"

Operation = Callable[..., Response]

# Methods, path, ECR's operation (for rate limits), required access, function. The first match counts.
_ROUTES: tuple[tuple[str, str, str, str, Operation], ...] = (
    ("GET HEAD", r"/v2/?", "", "", listings.get_base),
    ("GET", r"/v2/_catalog", "DescribeRepositories", "", listings.list_repositories),
    ("GET", _NAME + r"/tags/list", "ListImages", "pull", listings.list_tags),
    ("GET", _NAME + r"/referrers/(?P<digest>[^/]+)", "ListImageReferrers", "pull", listings.list_referrers),
    ("GET HEAD", _MANIFEST, "BatchGetImage", "pull", manifests.get_manifest),
    ("PUT", _MANIFEST, "PutImage", "push", manifests.put_manifest),
    ("DELETE", _MANIFEST, "BatchDeleteImage", "delete", manifests.delete_manifest),
    ("POST", _NAME + r"/blobs/uploads/?", "InitiateLayerUpload", "push", uploads.begin_upload),
    ("GET", _SESSION, "", "push", uploads.upload_status),
    ("PATCH", _SESSION, "UploadLayerPart", "push", uploads.patch_upload),
    ("PUT", _SESSION, "CompleteLayerUpload", "push", uploads.finish_upload),
    ("DELETE", _SESSION, "", "push", uploads.cancel_upload),
    ("HEAD", _BLOB, "BatchCheckLayerAvailability", "pull", blobs.head_blob),
    ("GET", _BLOB, "GetDownloadUrlForLayer", "pull", blobs.get_blob),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    operation_name: str
    action: str
    operation: Operation
    arguments: dict[str, str]

    def needed(self, request: Request) -> list[Access]:
        """Return the required access. A mount also reads from the other repository."""
        needed = [Access(repository=self.arguments.get("name", ""), action=self.action)]
        if self.operation is uploads.begin_upload and "from" in request.query:
            needed.append(Access(repository=request.query["from"], action="pull"))
        return needed


@dataclass(slots=True, kw_only=True)
class Answerer:
    """Answers requests to both origins, one at a time. Events are sent before the response."""

    service: Service
    login: Login | None
    rates: RateLimits
    on_event: Callable[[Event], None] | None
    _lock: Lock = field(default_factory=Lock)

    def answer(self, request: Request) -> Response:
        """Answer a request to the registry."""
        with self._lock:
            try:
                response = self._answer(request)
            except Refused as refused:
                response = self.refusal(request, refused)
            events = list(self.service.events)
            self.service.events.clear()
        for event in events:
            if self.on_event is not None:
                self.on_event(event)
        return response

    def answer_object(self, request: Request) -> Response:
        """Answer a request to the second origin."""
        with self._lock:
            return blobs.get_object(self.service, request)

    def challenge(self, request: Request) -> dict[str, str]:
        """Return the challenge header of a 401 to this request."""
        call = _call_for(request)
        if self.login is None or call is None:
            return {}
        return {"WWW-Authenticate": self.login.challenge(request, call.needed(request)[0])}

    def refusal(self, request: Request, refused: Refused) -> Response:
        """Return a refusal in the format of the request's protocol."""
        return refused.response() if request.aws_action is None else ecr_api.refusal(refused)

    def _answer(self, request: Request) -> Response:
        now = self.service.clock.now()
        if request.aws_action is not None:
            self.rates.count(request.aws_action, now)
            return ecr_api.answer(self.service, self.login, request)
        if self.login is not None and request.path == TOKEN_PATH:
            return self.login.answer_token(request, now) or not_found()
        call = _call_for(request)
        if call is None:
            if any(re.fullmatch(route[1], request.path) for route in _ROUTES):
                raise Refused(405, "UNSUPPORTED", "The operation is unsupported.")
            return not_found()
        if self.login is not None:
            self.login.check(request, call.needed(request), now)
        self.rates.count(call.operation_name, now)
        return call.operation(self.service, request, **call.arguments)


def _call_for(request: Request) -> _Call | None:
    for methods, path, name, action, operation in _ROUTES:
        found = re.fullmatch(path, request.path)
        if found and request.method in methods.split():
            arguments = found.groupdict()
            return _Call(operation_name=name, action=action, operation=operation, arguments=arguments)
    return None
