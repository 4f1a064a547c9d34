"""Check a whole image: each digest, each rule of the lazy reader, each span and, on request, each file."""

from soci.verify.image import verify_image
from soci.verify.report import Counts, Finding, Severity, VerifyReport

__all__ = ["Counts", "Finding", "Severity", "VerifyReport", "verify_image"]
