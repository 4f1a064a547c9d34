"""What the functions that index are deployed with, read once and kept for as long as the process lives."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from soci.places.ports import ImageOpener
from soci.places.registry.connect import connect
from soci.service.layer.catalog import DynamoDbCatalog
from soci.service.layer.index_layer import index_one_layer
from soci.service.layer.reuse import NothingKnown, ZtocCatalog
from soci.service.layer.row_mac import KmsMac
from soci.service.layer_messages import LayerJob, LayerOutcome
from soci.service.messages import Published, PublishJob
from soci.service.publish.publish_image import publish_image
from soci.service.settings.configuration import Configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """Settings, registry and catalog. Login and connections are kept."""

    configuration: Configuration
    open_image: ImageOpener
    catalog: ZtocCatalog = field(default_factory=NothingKnown)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read the environment of a function; without SOCI_ZTOC_TABLE and SOCI_ZTOC_MAC_KEY nothing is used again.

        Raises:
            InvalidOption: naming every setting that is wrong.
        """
        table, mac_key = environment.get("SOCI_ZTOC_TABLE"), environment.get("SOCI_ZTOC_MAC_KEY")
        return cls(
            configuration=Configuration.from_document(json.loads(environment["SOCI_SETTINGS"])),
            open_image=connect(environment["SOCI_REGISTRY"], is_ecr=True).open_image,
            catalog=DynamoDbCatalog(table, KmsMac(mac_key)) if table and mac_key else NothingKnown(),
        )

    def index_layer(self, job: LayerJob) -> LayerOutcome:
        """See `index_one_layer`."""
        return index_one_layer(job, self.configuration, self.open_image, self.catalog)

    def publish(self, job: PublishJob) -> Published:
        """See `publish_image`."""
        return publish_image(job, self.configuration, self.open_image)
