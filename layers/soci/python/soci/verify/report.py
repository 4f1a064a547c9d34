"""What a verification finds: problems are values, in the order in which they were found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum

from soci.errors import BlobMissing, DamagedLayer, InputError, IntegrityError


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    """Bytes are damaged or missing, or a lazy reader would refuse them or read wrong ones."""
    WARNING = "warning"
    """Something could not be looked at, or is of no effect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One problem: where (a document, layer, span or file) and what."""

    severity: Severity
    where: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What was looked at, each content once."""

    manifests: int = 0
    blobs: int = 0
    bytes: int = 0
    """Of manifests and blobs, as they are stored."""
    soci_indexes: int = 0
    ztocs: int = 0
    spans: int = 0
    files: int = 0
    """Regular files whose content was compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """The outcome of a verification."""

    findings: tuple[Finding, ...]
    counts: Counts

    @property
    def is_sound(self) -> bool:
        """Whether nothing worse than a warning was found."""
        return all(finding.severity is not Severity.ERROR for finding in self.findings)


class Findings:
    """Collects findings and counts while a verification runs."""

    def __init__(self) -> None:
        self._found: list[Finding] = []
        self._counts = Counts()

    def error(self, where: str, what: str) -> None:
        """Note an error."""
        self._found.append(Finding(severity=Severity.ERROR, where=where, what=what))

    def warning(self, where: str, what: str) -> None:
        """Note a warning."""
        self._found.append(Finding(severity=Severity.WARNING, where=where, what=what))

    @contextmanager
    def collecting(self, where: str, *, missing: bool = True) -> Iterator[None]:
        """Turn what is wrong with the image into an error; a place that cannot be read still raises.

        Whether something missing is an error is up to the caller.
        """
        try:
            yield
        except (IntegrityError, DamagedLayer, BlobMissing, InputError) as error:
            if isinstance(error, BlobMissing) and not missing:
                raise
            self.error(where, str(error))

    def count(self, **more: int) -> None:
        """Add to the counts, by the names of `Counts`."""
        self._counts = replace(
            self._counts, **{name: getattr(self._counts, name) + number for name, number in more.items()}
        )

    @property
    def error_count(self) -> int:
        """How many errors there are so far."""
        return sum(finding.severity is Severity.ERROR for finding in self._found)

    def report(self) -> VerifyReport:
        """Return what was collected."""
        return VerifyReport(findings=tuple(self._found), counts=self._counts)
