"""Every error this package raises on purpose, in one tree.

    SociError                     root; `retryable` says whether the same call may succeed later
    ├── InputError                the request is wrong: mend it
    │   ├── InvalidReference      an image reference does not parse
    │   ├── InvalidOption         a setting or flag is out of its range
    │   ├── InvalidRequest        an event or a manual request has wrong fields
    │   └── NotInImage            the image has no such tag, platform or path
    ├── SourceError               a place that holds images could not be read or written
    │   ├── BlobMissing           the place lacks a blob or manifest that a document names
    │   ├── StorageError          the file system refused (permission, space, a file in the way)
    │   ├── SpanUnreadable        a span that a mount needs could not be had; a later read tries again
    │   └── RegistryError         a registry refused or failed; `status` is its HTTP status, if it answered
    │       ├── Unauthorized      no login, or the login does not allow the request
    │       ├── TagImmutable      the tag exists and may not be moved
    │       ├── DeletionRefused   the registry refuses to delete a manifest or a tag
    │       │   └── TagNotDeletable   the registry deletes manifests, but no single tag
    │       ├── InvalidResponse   the answer contradicts the protocol or itself
    │       ├── Throttled         too many requests, even after all our waiting (retryable)
    │       └── RegistryUnavailable  no connection, a timeout or a server error (retryable)
    ├── IntegrityError            bytes contradict their digest, size or format
    │   ├── DigestMismatch        content hashes to another digest
    │   ├── SizeMismatch          content is longer or shorter than declared
    │   ├── InvalidDocument       a manifest, index or config does not have the required shape
    │   └── InvalidZtoc           a zTOC or checkpoint blob does not decode, or breaks a rule of the reader
    ├── MountRefused              the machine cannot mount a file system, or does not allow it
    ├── EventRefused              the event bus refuses an event
    │   └── EventBusUnavailable   no connection, a timeout, or too many at once (retryable)
    ├── ImagesFailed              images of a re-index failed twice; a redrive tries them again
    ├── Stopped                   cancelled, because other work failed or the user ended the run
    └── DamagedLayer              a layer's bytes are broken: the image fails, nothing is written
        ├── ZstdError             the zstd stream: damaged, not zstd, or too large a window
        ├── GzipError             the gzip stream: truncated, bad checksum, trailing garbage, not gzip
        └── TarError              the tar stream: bad header, cut short, not a tar

A sound layer that cannot be loaded lazily is not an error, but a result with a reason (`soci.reasons`).
Messages say what, where, got and want. No message holds a credential.
"""

from __future__ import annotations


class SociError(Exception):
    """Root of the tree. The message is one line, for a log or a terminal."""

    retryable = False


class InputError(SociError):
    """The request is wrong. Repeating it does not help."""


class InvalidReference(InputError):
    """An image reference does not parse."""


class InvalidOption(InputError):
    """A setting or flag has a value outside its range."""


class InvalidRequest(InputError):
    """An event or a manual request has wrong fields. The message names all of them."""


class NotInImage(InputError):
    """The image has no such tag, platform or path."""


class SourceError(SociError):
    """A place that holds images could not be read or written."""


class BlobMissing(SourceError):
    """A document names a blob or manifest, and the document's place does not have it."""


class StorageError(SourceError):
    """The file system refused a read or a write."""


class SpanUnreadable(SourceError):
    """A mount needs a span and could not get it. The message names layer, span and why."""


class RegistryError(SourceError):
    """A registry refused a request or failed. The message holds the registry's own words, in one line."""

    def __init__(
        self, message: str, *, status: int | None = None, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        """The HTTP status of the answer; None when there was none."""
        self.retry_after_seconds = retry_after_seconds
        """The wait that the registry asks for; None when it asks for none."""


class Unauthorized(RegistryError):
    """We have no login for the registry, or our login does not allow the request."""


class TagImmutable(RegistryError):
    """The tag names another manifest, and the registry does not allow to move it."""


class DeletionRefused(RegistryError):
    """The registry refuses a deletion: something refers to the manifest, or the registry never deletes."""


class TagNotDeletable(DeletionRefused):
    """The registry deletes no single tag. Deleting the manifest deletes its tags."""


class InvalidResponse(RegistryError):
    """The answer contradicts the protocol or itself. No part of the answer is used."""


class Throttled(RegistryError):
    """The registry still answers "too many requests" after all our waiting."""

    retryable = True


class RegistryUnavailable(RegistryError):
    """Several attempts all ended with no connection, a timeout or a server error."""

    retryable = True


class IntegrityError(SociError):
    """Bytes contradict their digest, size or format."""


class DigestMismatch(IntegrityError):
    """The content has another digest than the one requested."""


class SizeMismatch(IntegrityError):
    """The content is longer or shorter than its descriptor says."""


class InvalidDocument(IntegrityError):
    """A JSON document does not have the required shape. The message names the path of the bad field."""


class InvalidZtoc(IntegrityError):
    """A zTOC or checkpoint blob does not decode, or breaks a rule of the reader (formats.md 8.3)."""


MISSING_OR_CORRUPT = (NotInImage, BlobMissing, IntegrityError)
"""A document that is not there, or not as it should be. Other errors say that the place cannot be read."""


class MountRefused(SociError):
    """The machine cannot mount a file system, or does not allow it. The message says what to do."""


class EventRefused(SociError):
    """The event bus refuses the event of an image's outcome: no permission, or a wrong event."""


class EventBusUnavailable(EventRefused):
    """Several attempts all ended with no answer of the event bus, or with too many events at once."""

    retryable = True


class ImagesFailed(SociError):
    """Images of a re-index failed twice. The message counts its images by outcome and reason."""


class Stopped(SociError):
    """The work was cancelled: other work failed, which is the error to report, or the user ended the run."""


class DamagedLayer(SociError):
    """A layer's bytes are broken. No part of its image may be indexed."""


class ZstdError(DamagedLayer):
    """The zstd stream is damaged, is not zstd or needs too large a window."""


class GzipError(DamagedLayer):
    """The gzip stream is truncated, fails its own checksum, is followed by garbage or is not gzip."""


class TarError(DamagedLayer):
    """The tar stream has a bad header, is cut short or is not a tar."""
