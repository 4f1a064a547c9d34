from __future__ import annotations

import pytest

from soci.build.push import push_ztoc
from soci.places.layout.oci_layout import OciLayout
from tests.builders import file, gzip_of, index_layer, tar_of


class Sink(OciLayout):
    """A layout that counts what is written to it."""

    written = 0

    def push_blob(self, descriptor, chunks):
        self.written += 1
        super().push_blob(descriptor, chunks)


@pytest.fixture
def sink(tmp_path):
    return Sink(tmp_path / "layout")


def test_a_ztoc_that_is_there_is_not_written_again(sink):
    indexed = index_layer(gzip_of(tar_of(file("app", b"x"))))

    push_ztoc(sink, indexed)
    push_ztoc(sink, indexed)

    assert sink.written == 1
    assert sink.has_blob(indexed.descriptor)
