"""The last step: what the indexed layers add up to is checked, pushed, read back, and only then given its tag.

    match       layers of the message = layers of the plan             planned.py
    check       each zTOC fetched: its own digest, the settings, the lazy reader's rules   ztocs.py
    assemble    index manifests, prefetch artifacts, SOCI-enabled image                    making.py
    push        config, prefetch artifacts, index manifests, image manifests, image index
    read back   manifests, every zTOC, a span of each layer            read_back.py
    tag         if the source's tag still means the same image         soci.build.tagging

All of it may happen twice or at the same time: the same layers and settings give the same bytes under the same digest.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from soci.build.push import push_converted, push_indexes
from soci.build.tagging import push_tagged
from soci.errors import InvalidDocument
from soci.image.documents import Image, fetch_image
from soci.index.manifest import LayerZtoc
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.places.ports import ImageOpener, ImageStore
from soci.reasons import LeftOut
from soci.service.filter.promised_tag import promised_tag
from soci.service.messages import (
    Action,
    ImageRequest,
    Published,
    PublishedImage,
    PublishedPlatform,
    PublishJob,
    Work,
)
from soci.service.outcomes import ImageReason, Outcome
from soci.service.publish.make_documents import Made, make_documents
from soci.service.publish.match_plan import layer_bytes, match_platforms, streamed_bytes
from soci.service.publish.read_back import read_back
from soci.service.settings.configuration import Configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where an image lies and is published: its repository, opened at its digest."""

    request: ImageRequest
    configuration: Configuration
    open_image: ImageOpener
    digest: Digest

    def open(self) -> ImageStore:
        """Open it anew: nothing that was written before is remembered."""
        return self.open_image(self.request.repository, str(self.digest))

    @property
    def moves_tag(self) -> bool:
        """Whether the image's own tag is to point to what is made of it."""
        return (
            self.request.tag is not None
            and self.configuration.output_tag(self.request.tag) == self.request.tag
        )

    def set_tag(self, store: ImageStore, image: Descriptor, root: Descriptor) -> PublishedImage:
        """Let the tag that the settings promise point to a root, if the image's own tag still means the image."""
        tag = self.configuration.output_tag(self.request.tag)
        source = self.open_image(self.request.repository, self.request.tag) if self.request.tag else store
        left_alone = push_tagged(source, image, store, root, tag)
        return PublishedImage(digest=root.digest, tag=None if left_alone else tag, tag_left_alone=left_alone)


def publish_image(job: PublishJob, configuration: Configuration, open_image: ImageOpener) -> Published:
    """Publish the index of an image whose layers were indexed, or what the settings promise if there is none.

    Raises:
        InvalidDocument: the layers are not those that the image's plan asks for; the message names them.
        IntegrityError, SourceError: a zTOC, or what was published, is not there or not as it should be.
    """
    started = time.perf_counter()
    published = _publish_decided(job, configuration, open_image)
    work = Work(
        layers=len(job.outcomes),
        layer_seconds=sum(one.seconds for one in job.outcomes),
        publish_seconds=time.perf_counter() - started,
    )
    return replace(published, work=work)


def _publish_decided(job: PublishJob, configuration: Configuration, open_image: ImageOpener) -> Published:
    request = job.decision.request
    if request.digest is None or job.decision.action is Action.SKIP:
        raise InvalidDocument(
            f"publish job: action {job.decision.action}, digest {request.digest}: there is nothing to publish"
        )
    place = _Place(request=request, configuration=configuration, open_image=open_image, digest=request.digest)
    store = place.open()
    if job.decision.action is Action.TAG:
        reason = job.decision.reason or ImageReason.NO_LAYER_TO_INDEX
        nothing = Published(outcome=Outcome.NOTHING_TO_INDEX, request=request, reason=reason)
        return _publish_nothing(place, store, store.fetch_root(), nothing)
    image = fetch_image(store)
    platforms = match_platforms(image, job, configuration.index.settings)
    streamed, reused = streamed_bytes(platforms)
    made = make_documents(store, image, platforms, configuration.index, is_replaced=place.moves_tag)
    published = Published(
        outcome=Outcome.INDEXED,
        request=request,
        platforms=_describe_platforms(job, made),
        layer_bytes=layer_bytes(platforms),
        ztoc_bytes=made.ztoc_bytes,
        streamed_bytes=streamed,
        reused_bytes=reused,
    )
    if made.converted is None and not made.v1_indexes:
        reason = ImageReason.NO_LAYER_TO_INDEX
        nothing = replace(published, outcome=Outcome.NOTHING_TO_INDEX, reason=reason)
        return _publish_nothing(place, store, image.root, nothing)
    return _publish(place, store, image, made, published)


def _publish(place: _Place, store: ImageStore, image: Image, made: Made, published: Published) -> Published:
    """Push everything, read it back, and set the tag at last: what cannot be read gets none."""
    roots: list[Descriptor] = []
    if made.converted is not None:
        push_indexes(store, made.v2)
        push_converted(store, made.converted)
        roots = [document.descriptor for document in (*made.converted.manifests, made.converted.root)]
    if made.v1:
        push_indexes(store, made.v1)
        for index in made.v1_indexes:
            store.push_root(index, None)
    span_size_bytes = place.configuration.index.span_size_bytes
    counts = read_back(place.open(), roots, made.bound(), span_size_bytes=span_size_bytes)
    v2 = None
    if made.converted is not None:
        v2 = place.set_tag(store, image.root, made.converted.root.descriptor)
    unmatched = sorted({pattern for one in made.platforms if one.index for pattern in one.unmatched_prefetch})
    return replace(
        published,
        detail=_detail(v2, unmatched),
        v2=v2,
        v1=tuple(index.digest for index in made.v1_indexes) if made.v1 else None,
        read_back=counts,
    )


def _publish_nothing(place: _Place, store: ImageStore, image: Descriptor, nothing: Published) -> Published:
    """Set the promised tag on the image itself, if the settings promise one all the same."""
    if promised_tag(place.request, place.configuration) is None:
        return nothing
    v2 = place.set_tag(store, image, image)
    outcome = Outcome.NOTHING_TO_INDEX if v2.tag is None else Outcome.TAGGED
    return replace(nothing, outcome=outcome, v2=v2, detail=_detail(v2, ()))


def _describe_platforms(job: PublishJob, made: Made) -> tuple[PublishedPlatform, ...]:
    """Tell what became of each platform that the message names, also of those that were not to be indexed."""
    assembled = iter(made.platforms)
    described = []
    for plan in job.decision.platforms:
        one = None if plan.reason else next(assembled)
        outcomes = [part.outcome for part in one.parts] if one else []
        described.append(
            PublishedPlatform(
                platform=plan.platform,
                image=plan.digest,
                index=one.index.descriptor.digest if one and one.index else None,
                layers_indexed=sum(isinstance(outcome, LayerZtoc) for outcome in outcomes),
                left_out=Counter(outcome.reason for outcome in outcomes if isinstance(outcome, LeftOut))
                if one
                else plan.left_out,
            )
        )
    return tuple(described)


def _detail(v2: PublishedImage | None, unmatched: Sequence[str]) -> str:
    sentences = [v2.tag_left_alone.sentence] if v2 and v2.tag_left_alone else []
    if unmatched:
        sentences.append(f"No file to prefetch matches {', '.join(unmatched)}.")
    return " ".join(sentences)
