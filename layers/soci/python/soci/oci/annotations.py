"""All annotation keys that this package reads or writes."""

from __future__ import annotations

SOCI_INDEX_DIGEST = "com.amazon.soci.index-digest"
"""On an image manifest and its entry: the digest of its SOCI index."""

SOCI_IMAGE_MANIFEST_DIGEST = "com.amazon.soci.image-manifest-digest"
"""On the entry of a SOCI index: the digest of its image manifest."""

SOCI_IMAGE_LAYER_DIGEST = "com.amazon.soci.image-layer-digest"
"""On a zTOC or prefetch artifact: the digest of its layer."""

SOCI_IMAGE_LAYER_MEDIA_TYPE = "com.amazon.soci.image-layer-mediaType"
SOCI_SPAN_SIZE = "com.amazon.soci.span-size"
SOCI_DISABLE_XATTRS = "com.amazon.soci.disable-xattrs"
SOCI_BUILD_TOOL_IDENTIFIER = "com.amazon.soci.build-tool-identifier"

PREFETCH_SOURCE = "vnd.soci-index-builder.prefetch-source"
"""On a SOCI index manifest: a digest of what decided its prefetch artifacts (docs/adr/0050). Readers ignore it."""

ORIGINAL_CONFIG_DIGEST = "vnd.soci-index-builder.original-config-digest"
"""On an image manifest whose layers have their files in another order, and on its entry: the config of the image that
it was made of."""

DOCKER_REFERENCE_TYPE = "vnd.docker.reference.type"
"""On the entry of an attestation: `attestation-manifest`."""

DOCKER_REFERENCE_DIGEST = "vnd.docker.reference.digest"
"""On the entry of an attestation: the digest of the image manifest that it attests."""

REF_NAME = "org.opencontainers.image.ref.name"
"""On an entry of an OCI layout's index.json: its tag."""

CONTAINERD_IMAGE_NAME = "io.containerd.image.name"
"""On an entry of an OCI layout's index.json that Docker or containerd wrote: the full name with the tag."""

PROFILE_REVISION = "vnd.soci-index-builder.revision"
"""On a start profile that refers to an image: a number; of several profiles the one with the highest counts."""

PROFILE_LINE = "vnd.soci-index-builder.line"
"""On the start profile of a line of images: the pattern of their tags."""
