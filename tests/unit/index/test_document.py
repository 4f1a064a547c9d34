from __future__ import annotations

from soci.index.document import document_of
from soci.oci.digest import digest_of


def test_a_document_fits_its_descriptor():
    document = document_of("application/example", b"{}", artifact_type="application/kind")

    assert document.data == b"{}"
    assert document.descriptor.to_json() == {
        "mediaType": "application/example",
        "digest": str(digest_of(b"{}")),
        "size": 2,
        "artifactType": "application/kind",
    }
