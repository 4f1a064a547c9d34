"""The cost of an image in US dollars, by the list prices of `prices`: for comparing images and settings, no invoice.

Not counted: logs, traces, the table of zTOCs, and requests to the registry, which are free within a region.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from soci.oci.fields import Fields
from soci.service import prices
from soci.service.message_codec import Message
from soci.service.messages import Work

USD_PER_GB_SECOND: Mapping[str, float] = {
    "arm64": prices.LAMBDA_ARM64.usd,
    "x86_64": prices.LAMBDA_X86_64.usd,
}

SHORT_CALL_SECONDS = 0.5
"""Of the functions that decide and record, whose time is not measured: they send a few requests."""

_MIB_PER_GB = 1024
_STATES_OF_EVERY_IMAGE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSizes(Message):
    """Memory of the functions in MiB, and their processor."""

    architecture: str
    image_filter: int
    index_layer: int
    publish_index: int
    outcome_recorder: int

    @classmethod
    def from_document(cls, document: object) -> FunctionSizes:
        """Read the JSON object. Raises `InvalidDocument` that names the path."""
        fields = Fields(document, "function sizes")
        sizes = cls.from_fields(fields)
        if sizes.architecture not in USD_PER_GB_SECOND:
            raise fields.invalid("architecture", f"expected one of {', '.join(USD_PER_GB_SECOND)}")
        return sizes


def gb_seconds(work: Work, sizes: FunctionSizes) -> float:
    """Return the GB-seconds of all functions for an image."""
    mib_seconds = (
        SHORT_CALL_SECONDS * (sizes.image_filter + sizes.outcome_recorder)
        + work.layer_seconds * sizes.index_layer
        + work.publish_seconds * sizes.publish_index
    )
    return mib_seconds / _MIB_PER_GB


def invocations(work: Work) -> int:
    """Return the number of function calls for an image."""
    return 2 + work.layers + (work.publish_seconds > 0)


def transitions(work: Work) -> int:
    """Return the number of state transitions of an image's execution."""
    is_published = work.publish_seconds > 0
    return _STATES_OF_EVERY_IMAGE + is_published + (1 + work.layers if work.layers else 0)


def estimate_usd(work: Work, sizes: FunctionSizes) -> float:
    """Return the cost of the functions, states and the event for an image."""
    return (
        gb_seconds(work, sizes) * USD_PER_GB_SECOND[sizes.architecture]
        + invocations(work) * prices.LAMBDA_REQUEST.usd
        + transitions(work) * prices.TRANSITION.usd
        + prices.EVENT.usd
    )
