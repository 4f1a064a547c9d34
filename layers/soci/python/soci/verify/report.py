"""The findings of a verification, as values in the order of their discovery."""

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
    """Something could not be checked, or has no effect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One problem: where it is (a document, layer, span or file), and what it is."""

    severity: Severity
    where: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The numbers of checked items. Each content counts once."""

    manifests: int = 0
    blobs: int = 0
    bytes: int = 0
    """The bytes of manifests and blobs, as stored."""
    soci_indexes: int = 0
    ztocs: int = 0
    spans: int = 0
    files: int = 0
    """Regular files with compared content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """The outcome of a verification."""

    findings: tuple[Finding, ...]
    counts: Counts

    @property
    def is_sound(self) -> bool:
        """Whether there are only warnings."""
        return all(finding.severity is not Severity.ERROR for finding in self.findings)


class Findings:
    """Collects findings and counts during a verification."""

    def __init__(self) -> None:
        self._found: list[Finding] = []
        self._counts = Counts()

    def error(self, where: str, what: str) -> None:
        """Add an error."""
        self._found.append(Finding(severity=Severity.ERROR, where=where, what=what))

    def warning(self, where: str, what: str) -> None:
        """Add a warning."""
        self._found.append(Finding(severity=Severity.WARNING, where=where, what=what))

    @contextmanager
    def collecting(self, where: str, *, missing: bool = True) -> Iterator[None]:
        """Turn exceptions about the image into findings. An unreadable source still raises.

        With `missing=False`, missing content raises, too.
        """
        try:
            yield
        except (IntegrityError, DamagedLayer, BlobMissing, InputError) as error:
            if isinstance(error, BlobMissing) and not missing:
                raise
            self.error(where, str(error))

    def count(self, **more: int) -> None:
        """Add to the counts by the names in `Counts`."""
        self._counts = replace(
            self._counts, **{name: getattr(self._counts, name) + number for name, number in more.items()}
        )

    @property
    def error_count(self) -> int:
        """The number of errors so far."""
        return sum(finding.severity is Severity.ERROR for finding in self._found)

    def report(self) -> VerifyReport:
        """Return all findings and counts."""
        return VerifyReport(findings=tuple(self._found), counts=self._counts)
