"""Publishing an image whose layers are indexed: its documents are made, pushed, read back, and tagged last.

    match       layers of the message = layers of the plan                                 match_plan
    profiles    the start profiles that the message names                                  fetch_profiles
    check       each zTOC: its digest, the settings, the lazy reader's rules               check_ztocs
    assemble    index manifests, prefetch artifacts, converted image                       make_documents
    push        config, prefetch artifacts, index manifests, image manifests, image index  soci.build.push
    read back   manifests, every zTOC, a span of each layer                                read_back
    tag         if the source's tag still names the same image                             soci.build.tagging

Publishing twice, even at the same time, is harmless: the same layers and settings give the same bytes and digests.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from soci.build.push import push_converted, push_indexes, push_referrers
from soci.build.tagging import push_tagged
from soci.errors import InvalidDocument
from soci.image.documents import fetch_image
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
    ReadBack,
    Work,
)
from soci.service.outcomes import ImageReason, Outcome
from soci.service.profile_messages import PlannedProfile, PublishedProfile
from soci.service.publish.fetch_profiles import FetchedProfiles, fetch_profiles
from soci.service.publish.make_documents import Made, make_documents
from soci.service.publish.match_plan import PlatformLayers, layer_bytes, match_platforms, streamed_bytes
from soci.service.publish.read_back import read_back
from soci.service.settings.configuration import Configuration
from soci.start.prefetch_source import ProfileUse


def publish_image(job: PublishJob, configuration: Configuration, open_image: ImageOpener) -> Published:
    """Publish the index of an image whose layers were indexed, or the tag that is promised if nothing was indexed.

    Raises:
        InvalidDocument: the layers are not those that the image's plan asks for; the message names them.
        IntegrityError, SourceError: a zTOC, or a published document, is missing or not as it should be.
    """
    started = time.perf_counter()
    request = job.decision.request
    if request.digest is None or job.decision.action is Action.SKIP:
        raise InvalidDocument(
            f"publish job: action {job.decision.action}, digest {request.digest}: there is nothing to publish"
        )
    published = _Publication(
        job=job,
        configuration=configuration,
        open_image=open_image,
        digest=request.digest,
        store=open_image(request.repository, str(request.digest)),
    ).run()
    work = Work(
        layers=len(job.outcomes),
        layer_seconds=sum(one.seconds for one in job.outcomes),
        publish_seconds=time.perf_counter() - started,
    )
    return replace(published, work=work)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Publication:
    """One image to publish in its repository."""

    job: PublishJob
    configuration: Configuration
    open_image: ImageOpener
    digest: Digest
    store: ImageStore
    """The repository, opened at the image. It remembers what is written to it."""

    @property
    def request(self) -> ImageRequest:
        return self.job.decision.request

    def run(self) -> Published:
        if self.job.decision.action is Action.TAG:
            reason = self.job.decision.reason or ImageReason.NO_LAYER_TO_INDEX
            nothing = Published(outcome=Outcome.NOTHING_TO_INDEX, request=self.request, reason=reason)
            return self._tag_image_itself(self.store.fetch_root(), nothing)
        image = fetch_image(self.store)
        index = self.configuration.index
        platforms = match_platforms(image, self.job, index.settings)
        profiles = fetch_profiles(self.store, platforms, self.job.decision.platforms)
        made = make_documents(
            self.store, image, platforms, index, profiles.used, is_replaced=self._moves_tag()
        )
        published = self._describe(platforms, made, profiles)
        if made.converted is None and not made.v1_indexes:
            reason = ImageReason.NO_LAYER_TO_INDEX
            nothing = replace(published, outcome=Outcome.NOTHING_TO_INDEX, reason=reason)
            return self._tag_image_itself(image.root, nothing)
        self._push(made)
        counts = self._read_back(made)
        v2 = self._set_tag(image.root, made.converted.root.descriptor) if made.converted else None
        unmatched = {pattern for one in made.platforms if one.index for pattern in one.unmatched_prefetch}
        return replace(
            published,
            detail=_detail(v2, sorted(unmatched), published.platforms),
            v2=v2,
            v1=tuple(index.digest for index in made.v1_indexes) if made.v1 else None,
            read_back=counts,
        )

    def _push(self, made: Made) -> None:
        """Push all documents. No tag leads to them yet."""
        if made.converted is not None:
            push_indexes(self.store, made.v2)
            push_converted(self.store, made.converted)
        if made.v1:
            push_indexes(self.store, made.v1)
            push_referrers(self.store, made.v1)

    def _read_back(self, made: Made) -> ReadBack:
        """Read what was pushed through a repository opened again, which remembers nothing that was written."""
        opened_anew = self.open_image(self.request.repository, str(self.digest))
        converted = made.converted
        roots = (*converted.manifests, converted.root) if converted else ()
        return read_back(
            opened_anew,
            [document.descriptor for document in roots],
            made.bound(),
            span_size_bytes=self.configuration.index.span_size_bytes,
        )

    def _moves_tag(self) -> bool:
        """Tell whether the converted image takes over the image's own tag."""
        tag = self.request.tag
        return tag is not None and self.configuration.output_tag(tag) == tag

    def _set_tag(self, image: Descriptor, root: Descriptor) -> PublishedImage:
        """Set the promised tag on a root, if the image's own tag still names the image."""
        request, tag = self.request, self.configuration.output_tag(self.request.tag)
        source = self.open_image(request.repository, request.tag) if request.tag else self.store
        left_alone = push_tagged(source, image, self.store, root, tag)
        return PublishedImage(digest=root.digest, tag=None if left_alone else tag, tag_left_alone=left_alone)

    def _tag_image_itself(self, image: Descriptor, nothing: Published) -> Published:
        """Set the promised tag on the image itself, if the settings promise one when nothing is indexed."""
        if promised_tag(self.request, self.configuration) is None:
            return nothing
        v2 = self._set_tag(image, image)
        outcome = Outcome.NOTHING_TO_INDEX if v2.tag is None else Outcome.TAGGED
        return replace(nothing, outcome=outcome, v2=v2, detail=_detail(v2, (), ()))

    def _describe(
        self, platforms: Sequence[PlatformLayers], made: Made, profiles: FetchedProfiles
    ) -> Published:
        streamed, reused = streamed_bytes(platforms)
        return Published(
            outcome=Outcome.INDEXED,
            request=self.request,
            platforms=_describe_platforms(self.job, made, profiles),
            layer_bytes=layer_bytes(platforms),
            ztoc_bytes=made.ztoc_bytes,
            streamed_bytes=streamed,
            reused_bytes=reused,
        )


def _describe_platforms(
    job: PublishJob, made: Made, profiles: FetchedProfiles
) -> tuple[PublishedPlatform, ...]:
    """Describe the result for each platform of the message, including those that were not to be indexed."""
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
                profile=_describe_profile(plan.profile, one.profile if one else None),
                profile_problem=profiles.problems.get(plan.digest, ""),
            )
        )
    return tuple(described)


def _describe_profile(planned: PlannedProfile | None, use: ProfileUse | None) -> PublishedProfile | None:
    if planned is None or use is None:
        return None
    return PublishedProfile(
        digest=use.digest,
        origin=planned.origin,
        line=planned.line,
        files=use.files,
        files_missing=len(use.missing),
        needed_bytes=use.needed_bytes,
        prefetched_bytes=use.prefetched_bytes,
    )


def _detail(
    v2: PublishedImage | None, unmatched: Sequence[str], platforms: Sequence[PublishedPlatform]
) -> str:
    sentences = [v2.tag_left_alone.sentence] if v2 and v2.tag_left_alone else []
    if unmatched:
        sentences.append(f"No file to prefetch matches {', '.join(unmatched)}.")
    sentences += [
        f"{one.platform}: a start profile is not used: {one.profile_problem}."
        for one in platforms
        if one.profile_problem
    ]
    return " ".join(sentences)
