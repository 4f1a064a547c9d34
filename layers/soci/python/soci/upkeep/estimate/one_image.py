"""An estimate of what indexing an image takes, from its plan: calls, seconds, states, requests, storage and dollars.

    plan        the decision of the filter: layers, sizes, compression             decide.py
    seconds     per layer the slower of the network and the processors             `Assumptions`
    quantities  calls, GB-seconds, states, requests to the registry, zTOCs
    dollars     quantities times list prices                                       prices.py, cost.py

docs/cost.md explains the model and the source of its numbers. The record of an image has the real numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from soci.oci.compression import Compression
from soci.places.ports import ImageSource
from soci.service import prices
from soci.service.cost import USD_PER_GB_SECOND, FunctionSizes, gb_seconds, invocations, transitions
from soci.service.filter.decide import decide
from soci.service.filter.promised_tag import promised_tag
from soci.service.layer_messages import LayerItem
from soci.service.messages import Action, Decision, ImageRequest, Work
from soci.service.outcomes import ImageReason
from soci.service.settings.configuration import Configuration, NamePatterns, StartProfiles

DEFAULT_SIZES = FunctionSizes(
    architecture="arm64", image_filter=512, index_layer=3008, publish_index=1769, outcome_recorder=512
)
"""Of a deployment with the default settings."""

PUT_IMAGE_PER_SECOND = 10
"""ECR's quota for PutImage, per account and region."""

_BYTES_PER_GB = 1_000_000_000
_MIB_PER_PROCESSOR = 1_769
"""A function with this much memory has one processor (Lambda developer guide, "Configure function memory")."""

_PROFILE_REQUESTS = {StartProfiles.OFF: 0, StartProfiles.IMAGE: 1, StartProfiles.LINE: 2}
"""For each platform, to find out that there is no start profile: of the image, of the repository's line."""
_MANIFEST_BYTES = 4_000
_LOG_BYTES_PER_CALL = 1_500


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """Numbers that no plan contains. A GB is 10^9 bytes of compressed layers."""

    cpu_seconds_per_gb: float = 7.2
    """To index gzip. Measured on layers of real packages; 6.6 with few large files, 12.6 with very many small ones."""
    serial_share: float = 0.75
    """The part of that on one thread: more than 1.3 processors do not help."""
    recompress_cpu_seconds_per_gb: float = 69.0
    """To recompress zstd to gzip of level 6, nearly all of it on one thread. Level 1 takes half of it."""
    network_mb_per_second: float = 75.0
    """From the registry to a function. AWS publishes no number."""
    call_seconds: float = 0.5
    """Of any call, besides its work."""
    publish_seconds: float = 1.0
    publish_seconds_per_layer: float = 0.1
    """To check a zTOC and to read back a span."""
    ztoc_share: float = 0.036
    """Size of a zTOC to that of its layer. 0.02 with few large files, 0.19 with very many small ones."""
    copy_share: float = 1.1
    """Size of a recompressed layer to that of the zstd layer."""
    reused_share: float = 0.0
    """The part of the bytes in layers whose zTOC is cached, which are not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What one push of an image takes. The storage is paid until the index is deleted."""

    layers: int
    layer_bytes: int
    longest_layer_seconds: float
    seconds: float
    """From the push to the index, if all layers are indexed at the same time."""
    invocations: int
    gb_seconds: float
    transitions: int
    put_image: int
    """Manifests that are pushed: ECR allows `PUT_IMAGE_PER_SECOND` per account and region."""
    registry_requests: int
    """All requests to the registry; they are free within a region."""
    storage_bytes: int
    usd: Mapping[str, float]
    """By service, for one push."""
    storage_usd_per_month: float

    @property
    def total_usd(self) -> float:
        """The cost of one push, without storage."""
        return sum(self.usd.values())

    def to_document(self) -> dict[str, object]:
        """Return it for `--json`."""
        return {
            "layers": self.layers,
            "layer_bytes": self.layer_bytes,
            "longest_layer_seconds": round(self.longest_layer_seconds, 1),
            "seconds": round(self.seconds, 1),
            "invocations": self.invocations,
            "gb_seconds": round(self.gb_seconds, 2),
            "transitions": self.transitions,
            "put_image": self.put_image,
            "registry_requests": self.registry_requests,
            "storage_bytes": self.storage_bytes,
            "usd": {service: round(usd, 8) for service, usd in self.usd.items()},
            "total_usd": round(self.total_usd, 8),
            "storage_usd_per_month": round(self.storage_usd_per_month, 8),
        }


def estimate(
    decision: Decision, configuration: Configuration, sizes: FunctionSizes, assumptions: Assumptions
) -> Estimate:
    """Return what indexing an image takes."""
    layers = decision.layers if decision.action is Action.INDEX else ()
    seconds = [layer_seconds(layer, sizes, assumptions) for layer in layers]
    publish_seconds = 0.0
    if decision.action is not Action.SKIP:
        publish_seconds = assumptions.publish_seconds + assumptions.publish_seconds_per_layer * len(layers)
    work = Work(layers=len(layers), layer_seconds=sum(seconds), publish_seconds=publish_seconds)
    longest = max(seconds, default=0.0)
    puts = _put_image(decision, configuration)
    storage_bytes = _storage_bytes(layers, puts, assumptions)
    return Estimate(
        layers=len(layers),
        layer_bytes=sum(layer.size for layer in layers),
        longest_layer_seconds=longest,
        seconds=longest + publish_seconds + 2 * assumptions.call_seconds,
        invocations=invocations(work),
        gb_seconds=gb_seconds(work, sizes),
        transitions=transitions(work),
        put_image=puts,
        registry_requests=_registry_requests(decision, len(layers), puts, configuration.index.start_profiles),
        storage_bytes=storage_bytes,
        usd=_usd(work, sizes),
        storage_usd_per_month=storage_bytes / _BYTES_PER_GB * prices.STORAGE_GB_MONTH.usd,
    )


def plan_image(source: ImageSource, configuration: Configuration) -> Decision:
    """Decide on an image as the filter does, but for any name and as if it had no index yet.

    Raises:
        SourceError: the image is not there or cannot be read.
    """
    rules = replace(configuration.rules, repositories=NamePatterns(), tags=NamePatterns())
    request = ImageRequest(repository="image", tag="latest", force=True)
    source.fetch_root()  # the filter makes a decision of a missing image; here it is an error
    decision = decide(request, replace(configuration, rules=rules), lambda _, __: source)
    is_promised = decision.platforms and promised_tag(request, configuration) is not None
    if decision.action is Action.SKIP and is_promised and decision.reason is not ImageReason.NOT_AN_IMAGE:
        return replace(decision, action=Action.TAG)  # skipped since any tag seemed to name the image already
    return decision


def layer_seconds(layer: LayerItem, sizes: FunctionSizes, assumptions: Assumptions) -> float:
    """Return the seconds of a call for a layer: the slower of reading and indexing, which run at the same time."""
    is_recompressed = layer.compression is Compression.ZSTD
    cpu = assumptions.recompress_cpu_seconds_per_gb if is_recompressed else assumptions.cpu_seconds_per_gb
    serial = 1.0 if is_recompressed else assumptions.serial_share
    processors = sizes.index_layer / _MIB_PER_PROCESSOR
    per_gb = max(1_000 / assumptions.network_mb_per_second, cpu * max(serial, 1 / processors))
    if processors < 1:
        per_gb = max(per_gb, cpu / processors)
    read_bytes = layer.size * (1 - assumptions.reused_share)
    return assumptions.call_seconds + read_bytes / _BYTES_PER_GB * per_gb


def _put_image(decision: Decision, configuration: Configuration) -> int:
    """Count the manifests: a SOCI index per platform and version, and for version 2 the image's new documents."""
    if decision.action is Action.TAG:
        return 1
    platforms = (
        sum(one.reason is None for one in decision.platforms) if decision.action is Action.INDEX else 0
    )
    if not platforms:
        return 0
    v1 = platforms if configuration.index.makes_v1 else 0
    has_tag = configuration.output_tag(decision.request.tag) is not None
    return v1 + (2 * platforms + 1 + has_tag if configuration.index.makes_v2 else 0)


def _registry_requests(decision: Decision, layers: int, puts: int, profiles: StartProfiles) -> int:
    """Count requests to the registry. Of each layer one range counts: the blob store serves the others."""
    platforms = max(1, len(decision.platforms))
    filtered = 2 + platforms
    if not puts:
        return filtered
    filtered += _PROFILE_REQUESTS[profiles] * platforms
    indexed = 4 * layers  # zTOC exists?, the layer, the zTOC in two requests
    published = (
        5 * layers + 6 * platforms + 8 + puts
    )  # each zTOC twice, a header and a span of its layer; documents
    return filtered + indexed + (published if layers else 3)


def _storage_bytes(layers: tuple[LayerItem, ...], puts: int, assumptions: Assumptions) -> int:
    recompressed = sum(layer.size for layer in layers if layer.compression is Compression.ZSTD)
    ztocs = sum(layer.size for layer in layers) * assumptions.ztoc_share
    return int(ztocs + recompressed * assumptions.copy_share + puts * _MANIFEST_BYTES)


def _usd(work: Work, sizes: FunctionSizes) -> dict[str, float]:
    calls = invocations(work)
    return {
        "lambda": gb_seconds(work, sizes) * USD_PER_GB_SECOND[sizes.architecture]
        + calls * prices.LAMBDA_REQUEST.usd,
        "step_functions": transitions(work) * prices.TRANSITION.usd,
        "eventbridge": prices.EVENT.usd,
        "dynamodb": work.layers * (prices.TABLE_READ.usd + prices.TABLE_WRITE.usd),
        "kms": work.layers * prices.KEY_REQUEST.usd,
        "logs": calls * _LOG_BYTES_PER_CALL / _BYTES_PER_GB * prices.LOGS_GB.usd,
    }
