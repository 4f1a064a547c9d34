"""The results of a re-index: counts by outcome and reason, and the failures, which are retried once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from soci.oci.fields import Fields
from soci.service.message_codec import Message, decode, encode
from soci.service.outcomes import Outcome

MAX_FAILED = 200
MAX_FAILED_BYTES = 48 << 10
"""Of the failures that are kept. They must fit into a state's 256 KiB beside a page and its results."""

NO_OUTCOME = "no-outcome"
"""The reason of an image without a result: its execution ended in a way that cannot be caught."""

_REASON_CHARACTERS = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedImage(Message):
    """The request for an image that failed, with the name of the error. It can be sent again as it is."""

    repository: str
    tag: str = ""
    digest: str = ""
    force: bool = False
    reason: str = ""

    def to_document(self) -> dict[str, object]:
        """Return it as a request: by its tag, else by its digest."""
        name = {"tag": self.tag} if self.tag else {"digest": self.digest}
        return {"repository": self.repository, **name, "force": self.force, "reason": self.reason}

    @classmethod
    def from_fields(cls, fields: Fields) -> FailedImage:
        """Read it back, or from a result. Raises `InvalidDocument` that names the path."""
        return decode(cls, fields, reason=_reason(fields))


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary(Message):
    """The counts so far."""

    outcomes: Mapping[str, int] = field(default_factory=dict, hash=False)
    reasons: Mapping[str, int] = field(default_factory=dict, hash=False)
    pages: int = 0
    stopped: str | None = None
    """Why the listing of images stopped before its end; None if it did not."""

    def to_document(self) -> dict[str, object]:
        """Return the output of a re-index."""
        return {"images": sum(self.outcomes.values()), **encode(self)}

    @classmethod
    def from_document(cls, document: object) -> Summary:
        """Read it back; an empty object counts nothing. Raises `InvalidDocument` that names the path."""
        return cls.from_fields(Fields(document, "summary"))

    def with_results(self, results: Sequence[Fields]) -> Summary:
        """Add results. Raises `InvalidDocument` that names the path of a result without an outcome."""
        return replace(
            self,
            outcomes=_sum(self.outcomes, (_outcome(one) for one in results)),
            reasons=_sum(self.reasons, (reason for one in results if (reason := _reason(one)))),
        )

    def without_failures(self, failed: Sequence[FailedImage]) -> Summary:
        """Subtract failures whose images have been retried."""
        outcomes, reasons = Counter(self.outcomes), Counter(self.reasons)
        outcomes[Outcome.FAILED] -= len(failed)
        reasons.subtract(one.reason for one in failed if one.reason)
        return replace(self, outcomes=dict(+outcomes), reasons=dict(+reasons))

    def with_failures(self, failed: Sequence[FailedImage]) -> Summary:
        """Add failures that are not among the results."""
        return replace(
            self,
            outcomes=_sum(self.outcomes, (Outcome.FAILED.value for _ in failed)),
            reasons=_sum(self.reasons, (one.reason for one in failed)),
        )


def failures_of(results: Sequence[Fields]) -> tuple[FailedImage, ...]:
    """Return the failures among results. Raises as `Summary.with_results`."""
    return tuple(FailedImage.from_fields(one) for one in results if _outcome(one) == Outcome.FAILED)


def without_outcome(sent: Sequence[Fields], results: Sequence[Fields]) -> tuple[FailedImage, ...]:
    """Return the images that have no result, as failures; none if there are as many results as images."""
    lost = len(sent) - len(results)
    if lost <= 0:
        return ()
    known = {(one.string("repository"), one.string(name)) for one in results for name in ("tag", "digest")}
    images = [FailedImage.from_fields(one) for one in sent]
    missing = [one for one in images if (one.repository, one.tag or one.digest) not in known]
    return tuple(replace(one, reason=NO_OUTCOME) for one in missing[:lost])


def are_too_many(failed: Sequence[FailedImage]) -> bool:
    """Tell whether there are so many failures that their cause cannot be the images."""
    return len(failed) >= MAX_FAILED or _size_bytes(failed) >= MAX_FAILED_BYTES


def _size_bytes(failed: Sequence[FailedImage]) -> int:
    return len(json.dumps([one.to_document() for one in failed]))


def _outcome(result: Fields) -> str:
    outcome = result.string("outcome")
    if not outcome:
        raise result.invalid("outcome", "expected what came of the image, got nothing")
    return outcome


def _reason(result: Fields) -> str:
    return result.string("reason")[:_REASON_CHARACTERS]


def _sum(counts: Mapping[str, int], more: Iterable[str]) -> dict[str, int]:
    return dict(Counter(counts) + Counter(more))
