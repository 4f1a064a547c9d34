"""Every error this package raises on purpose, in one tree.

    SociError                     root; `retryable` says whether the same call may succeed later
    ├── InputError                the caller asked for something that cannot be: mend the request
    │   ├── InvalidReference      an image reference does not parse
    │   ├── InvalidOption         a setting or flag is out of its range
    │   ├── InvalidRequest        an event or a request by hand is not what the functions take
    │   └── NotInImage            a tag, platform or path that the image does not have
    ├── SourceError               a place that holds images could not be read or written
    │   ├── BlobMissing           the place lacks a blob or manifest that a document names
    │   ├── StorageError          the file system refused (permission, space, a file in the way)
    │   └── RegistryError         a registry refused or failed; `status` is its HTTP status, if it answered
    │       ├── Unauthorized      no login, or one that does not allow this
    │       ├── TagImmutable      the tag exists already and may not be moved
    │       ├── DeletionRefused   the registry keeps a manifest or a tag that was to be deleted
    │       │   └── TagNotDeletable   the registry deletes manifests only, no tag by itself
    │       ├── InvalidResponse   the answer contradicts the protocol or itself
    │       ├── Throttled         too many requests, for longer than we wait (retryable)
    │       └── RegistryUnavailable  no connection, a time-out or an error of the server (retryable)
    ├── IntegrityError            bytes are not what their digest, size or format promises
    │   ├── DigestMismatch        content hashes to another digest
    │   ├── SizeMismatch          content is longer or shorter than declared
    │   ├── InvalidDocument       a manifest, index or config does not have the required shape
    │   └── InvalidZtoc           a zTOC or checkpoint blob does not decode, or breaks a rule of the reader
    ├── EventRefused              the event bus does not take what is to be told
    │   └── EventBusUnavailable   no connection, a time-out, or too many at once (retryable)
    ├── ImagesFailed              images of a re-index failed twice; a redrive tries them again
    ├── Stopped                   given up because other work failed or was ended: nobody waits for it
    └── DamagedLayer              a layer's bytes are broken: the image fails, nothing is written
        ├── ZstdError             the zstd stream: damaged, not zstd, or in need of too large a window
        ├── GzipError             the gzip stream: truncated, bad checksum, trailing garbage, not gzip
        └── TarError              the tar stream: bad header, cut short, not a tar

A layer that is sound but cannot be loaded lazily is no error: it is a result with a reason (`soci.reasons`).
Messages say what, where, got and want; none holds a credential.
"""

from __future__ import annotations


class SociError(Exception):
    """Root of the tree. The message is one line fit for a log and for a terminal."""

    retryable = False


class InputError(SociError):
    """The request cannot be met as it stands; repeating it is of no use."""


class InvalidReference(InputError):
    """An image reference does not parse."""


class InvalidOption(InputError):
    """A setting or flag has a value outside its range."""


class InvalidRequest(InputError):
    """An event or a request by hand is not what the functions take; the message names every bad field."""


class NotInImage(InputError):
    """The image has no such tag, platform or path."""


class SourceError(SociError):
    """A place that holds images could not be read or written."""


class BlobMissing(SourceError):
    """A blob or manifest that a document names is not where the document lies."""


class StorageError(SourceError):
    """The file system refused a read or a write."""


class RegistryError(SourceError):
    """A registry refused a request or failed; the message holds what it says of that, in one line."""

    def __init__(
        self, message: str, *, status: int | None = None, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        """The HTTP status of the answer; None when there was none."""
        self.retry_after_seconds = retry_after_seconds
        """How long the registry wants to be left alone; None when it does not say."""


class Unauthorized(RegistryError):
    """The registry wants a login that we do not have, or the one we have does not allow the request."""


class TagImmutable(RegistryError):
    """The tag names another manifest already, and the registry does not let it move."""


class DeletionRefused(RegistryError):
    """The registry keeps a manifest or a tag, because something refers to it or because it deletes nothing."""


class TagNotDeletable(DeletionRefused):
    """The registry does not delete this tag by itself; deleting the manifest deletes its tags."""


class InvalidResponse(RegistryError):
    """The answer contradicts the protocol or itself; nothing of it is used."""


class Throttled(RegistryError):
    """The registry still answers "too many requests" after all the waiting that we do."""

    retryable = True


class RegistryUnavailable(RegistryError):
    """No connection, a time-out or an error of the server, and still so after several attempts."""

    retryable = True


class IntegrityError(SociError):
    """Bytes are not what their digest, size or format promises."""


class DigestMismatch(IntegrityError):
    """Content hashes to another digest than the one it was asked for by."""


class SizeMismatch(IntegrityError):
    """Content is longer or shorter than its descriptor says."""


class InvalidDocument(IntegrityError):
    """A JSON document lacks the required shape; the message names the path of the bad field."""


class InvalidZtoc(IntegrityError):
    """A zTOC or checkpoint blob does not decode, or breaks a rule of the reader (formats.md 8.3)."""


class EventRefused(SociError):
    """The event bus does not take what came of an image: no right, or not what it takes."""


class EventBusUnavailable(EventRefused):
    """The event bus did not answer, or had no room, and still so after several attempts."""

    retryable = True


class ImagesFailed(SociError):
    """Images of a re-index failed twice; the message counts all of its images by outcome and reason."""


class Stopped(SociError):
    """Work that was given up because other work failed, or the user ended it; that is what there is to tell."""


class DamagedLayer(SociError):
    """A layer's bytes are broken; no part of its image may be indexed."""


class ZstdError(DamagedLayer):
    """The zstd stream is damaged, is no zstd or needs too large a window."""


class GzipError(DamagedLayer):
    """The gzip stream is truncated, fails its own checksum, is followed by garbage or is no gzip."""


class TarError(DamagedLayer):
    """The tar stream has a bad header, is cut short or is no tar."""
