"""SOCI indexes as documents: the index manifest, the SOCI-enabled image, prefetch artifacts. No I/O."""
