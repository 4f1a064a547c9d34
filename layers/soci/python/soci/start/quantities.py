"""Quantities for people. Bytes are in kB and MB of powers of ten as in a bandwidth, sizes of spans in MiB."""

from __future__ import annotations


def mb_text(size_bytes: float) -> str:
    """Return 254.0 MB, 1,024.5 MB; 12.5 kB for less than a tenth of one."""
    if size_bytes and size_bytes < 1e5:
        return f"{size_bytes / 1e3:,.1f} kB"
    return f"{size_bytes / 1e6:,.1f} MB"


def mib_text(size_bytes: int) -> str:
    """Return 4 MiB, 64 KiB."""
    if size_bytes < 1 << 20:
        return f"{size_bytes / (1 << 10):.4g} KiB"
    return f"{size_bytes / (1 << 20):.4g} MiB"


def of_text(part: int, whole: int) -> str:
    """Return how much of something: 118.0 MB of 254.0 MB (46 %)."""
    share = f"{part / whole:.0%}".replace("%", " %") if whole else "0 %"
    return f"{mb_text(part)} of {mb_text(whole)} ({share})"
