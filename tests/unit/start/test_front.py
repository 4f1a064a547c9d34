from __future__ import annotations

from collections.abc import Sequence

from soci.image.filesystem import FileSystem
from soci.start.front import LayerTable, plan_fronts
from soci.start.needs import plan_needs
from soci.start.profile import FileRead, ReadRange, make_profile
from soci.ztoc.decode import decode_ztoc
from tests.builders import Member, directory, file, gzip_of, index_layer, noise, symlink, tar_of

KIB = 1 << 10


def table(*members: Member, with_ztoc: bool = True) -> LayerTable:
    ztoc = decode_ztoc(index_layer(gzip_of(tar_of(*members)), span_size_bytes=64 * KIB).ztoc)
    spans = ztoc.compression.spans if with_ztoc else None
    return LayerTable(entries=ztoc.files, spans=spans, archive_bytes=ztoc.uncompressed_archive_size)


def plans(layers: Sequence[LayerTable], *reads: FileRead):
    files = FileSystem.of([layer.entries for layer in layers])
    needs = plan_needs(make_profile(list(reads)), files, [layer.spans for layer in layers])
    return plan_fronts(needs, layers)


def whole(path: bytes, first_ms: int = 0) -> FileRead:
    return FileRead(path=path, first_ms=first_ms, last_ms=first_ms)


MANY = [file(f"f{number:03}", noise(32 * KIB, str(number))) for number in range(40)]
READ = [whole(b"/f030", 2), whole(b"/f010", 3), whole(b"/f020", 1)]


def test_files_that_a_start_reads_here_and_there_come_first_in_the_order_of_need():
    (made,) = plans([table(*MANY)], *READ)
    assert made is not None
    assert made.order[: made.moved] == (20, 30, 10)


def test_a_layer_that_is_read_nearly_whole_stays():
    most = (whole(b"/f%03d" % number) for number in range(40) if number not in (7, 23))
    assert plans([table(*MANY)], *most) == (None,)


def test_files_that_lie_together_stay():
    assert plans([table(*MANY)], *(whole(b"/f%03d" % number) for number in range(4))) == (None,)


def test_a_small_layer_stays():
    assert plans([table(*MANY[:2])], whole(b"/f001")) == (None,)


def test_a_layer_without_a_ztoc_stays():
    assert plans([table(*MANY, with_ztoc=False)], *READ) == (None,)


def test_large_files_of_which_little_is_read_close_the_front():
    large = file("large", noise(640 * KIB, "large"))
    hardly = FileRead(
        path=b"/large", first_ms=0, last_ms=0, ranges=(ReadRange(start=0, end=KIB, first_ms=0),)
    )
    (made,) = plans([table(*MANY, large)], hardly, *READ)
    assert made is not None
    assert made.order[: made.moved] == (20, 30, 10, len(MANY))


def test_a_large_file_alone_is_not_worth_it():
    large = file("large", noise(640 * KIB, "large"))
    hardly = FileRead(
        path=b"/large", first_ms=0, last_ms=0, ranges=(ReadRange(start=0, end=KIB, first_ms=0),)
    )
    assert plans([table(*MANY, large)], hardly) == (None,)


def test_each_layer_gets_the_files_that_come_from_it():
    below, above = table(*MANY), table(file("f020", b"new"), directory("d/"))
    made, other = plans([below, above], *READ, whole(b"/f005", 4))
    assert made is not None
    assert made.order[: made.moved] == (30, 10, 5)
    assert other is None


def test_a_directory_that_is_a_link_in_a_lower_layer_keeps_the_order():
    inside = [file(f"lib/{one.info.name}", one.data) for one in MANY]
    reads = [whole(b"/usr/lib" + one.path, one.first_ms) for one in READ]
    layers = [table(directory("usr/"), directory("usr/lib/"), symlink("lib", "usr/lib")), table(*inside)]
    assert plans(layers, *reads) == (None, None)
    unknown = [LayerTable(entries=(), is_complete=False), table(*inside)]
    assert plans(unknown, *(whole(b"/lib" + one.path) for one in READ)) == (None, None)
