"""What indexing some images takes in a month."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from soci.upkeep.estimate.one_image import PUT_IMAGE_PER_SECOND, Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """A month in which each image is pushed equally often."""

    estimates: Sequence[Estimate]
    """One for each image."""
    pushes: int
    """Pushes of each image."""
    months_kept: float
    """How long an index stays in the registry."""

    @property
    def indexing_usd(self) -> float:
        """Dollars to index every push."""
        return self.pushes * sum(one.total_usd for one in self.estimates)

    @property
    def storage_bytes(self) -> float:
        """Bytes in the registry once the oldest index is removed."""
        return self.pushes * self.months_kept * sum(one.storage_bytes for one in self.estimates)

    @property
    def storage_usd(self) -> float:
        """Dollars a month for these bytes."""
        per_month = sum(one.storage_usd_per_month for one in self.estimates)
        return self.pushes * self.months_kept * per_month

    @property
    def put_image_minutes(self) -> float:
        """The least time that ECR's quota allows for all pushes at once."""
        return self.pushes * sum(one.put_image for one in self.estimates) / PUT_IMAGE_PER_SECOND / 60
