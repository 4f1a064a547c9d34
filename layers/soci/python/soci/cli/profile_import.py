"""`soci-index profile import`: a start profile from the recording of another tool."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from soci.cli.options import JsonOption, number_between
from soci.cli.profile_file import ProfileOutputOption
from soci.cli.streams import check_output, input_name, open_input, write_output
from soci.cli.terminal import byte_bar, count_text, print_error, print_json, print_lines
from soci.errors import InvalidOption, InvalidRequest
from soci.image.filesystem import shown
from soci.image.indexed import open_image
from soci.oci.platform import Platform
from soci.oci.reference import parse_reference
from soci.places.layout.extents import CHUNK_BYTES, storage_errors
from soci.places.open import open_source
from soci.start.import_recording import ImportedStart, make_start_profile
from soci.start.locate import open_image_content
from soci.start.profile import MAX_MS, StartProfile, encode_profile
from soci.start.recording import Recording, RecordingReader, split_lines
from soci.start.snapshotter_log import SnapshotterLog
from soci.start.strace import StraceOutput, is_call

_PEEKED_LINES = 10_000
_LOG_LINE = re.compile(rb'"operation"|\boperation=|"level"|\blevel=\w|\\"operation\\"')


class RecordingFormat(StrEnum):
    """Whose recording it is."""

    SNAPSHOTTER = "snapshotter"
    STRACE = "strace"


_READERS: dict[RecordingFormat, type[SnapshotterLog | StraceOutput]] = {
    RecordingFormat.SNAPSHOTTER: SnapshotterLog,
    RecordingFormat.STRACE: StraceOutput,
}
_HINTS = {
    RecordingFormat.SNAPSHOTTER: "the snapshotter logs reads with the log level debug and log_fuse_operations = true",
    RecordingFormat.STRACE: "record with strace -f -y -ttt -s 0 -e trace=%file,%desc,%process -o FILE",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """What the recording does not say."""

    format: Annotated[
        RecordingFormat | None,
        typer.Option(
            help="The snapshotter's log with log_fuse_operations, or what strace -f writes. "
            "Without it the lines decide.",
        ),
    ] = None
    image: Annotated[
        str | None,
        typer.Option(
            metavar="IMAGE",
            help="The image that was started: files that it does not have are left out, links are resolved, and sizes, "
            "layers and spans are filled in.",
        ),
    ] = None
    platform: Annotated[
        str | None,
        typer.Option("--platform", "-p", metavar="OS/ARCH[/VARIANT]", help="The platform of the start."),
    ] = None
    root: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Where the image was on the recording machine: other paths are left out."
        ),
    ] = None
    seconds: Annotated[
        float | None,
        typer.Option(
            parser=number_between(0.001, MAX_MS / 1000),
            metavar="N",
            help="Leave out what is first read N seconds after the first read, or later.",
        ),
    ] = None

    @property
    def limit_ms(self) -> int:
        """When the start is over."""
        return MAX_MS if self.seconds is None else int(self.seconds * 1000)


def import_(
    recording: Annotated[
        Path, typer.Argument(metavar="RECORDING", help="A log, or a trace; - is standard input.")
    ],
    *,
    output: ProfileOutputOption = None,
    options: ImportOptions,
    as_json: JsonOption = False,
) -> None:
    """Make a start profile from the log of the format owner's snapshotter, or from the output of strace -f.

    Without -o the profile goes to standard output. --json prints a summary, so it takes -o.
    """
    if as_json and output is None:
        raise InvalidOption("--json prints a summary: -o FILE says where to write the profile")
    if options.root is not None and not options.root.is_absolute():
        raise InvalidOption(f"--root {options.root}: want an absolute path, as it stands in the recording")
    check_output(output)
    found, read, start = _import(recording, options)
    write_output(output, encode_profile(start.profile))
    if as_json:
        print_json(_document(found, read, start, output))
        return
    if output is not None:
        print_lines([*_lines(read, start), f"written to {output}"])
    for note in _notes(found, read, has_image=options.image is not None):
        print_error(note)


def _import(path: Path, options: ImportOptions) -> tuple[RecordingFormat, Recording, ImportedStart]:
    platform = None if options.platform is None else Platform.parse(options.platform)
    source = None if options.image is None else open_source(parse_reference(options.image))
    image = (
        None if source is None else open_image(source, platform)
    )  # before the recording is read: it may be long
    found, read = _read(path, options.format)
    if not len(read.reads):
        notes = "".join(f"; {note}" for note in read.notes)
        lines = count_text(read.lines, "line")
        raise InvalidRequest(f"{input_name(path)}: no read of a file in {lines}: {_HINTS[found]}{notes}")
    start = make_start_profile(
        read,
        content=None if source is None or image is None else open_image_content(source, image),
        image=None if image is None else image.image.descriptor.digest,
        platform=platform if image is None else image.image.platform,
        root=None if options.root is None else bytes(options.root),
        limit_ms=options.limit_ms,
    )
    if not start.profile.files:
        paths, where = count_text(len(read.reads), "path"), options.root or f"image {options.image}"
        raise InvalidRequest(f"{input_name(path)}: none of {paths} is a file of {where}")
    return found, read, start


def _read(path: Path, wanted: RecordingFormat | None) -> tuple[RecordingFormat, Recording]:
    total_bytes = path.stat().st_size if path.is_file() else None
    with open_input(path) as file, byte_bar(str(input_name(path)), total_bytes) as advance:
        lines = split_lines(_chunks(path, file, advance))
        first = list(islice(lines, _PEEKED_LINES)) if wanted is None else []
        found = wanted or _format_of(path, first)
        reader: RecordingReader = _READERS[found]()
        for line in chain(first, lines):
            reader.feed(line)
    return found, reader.finish()


def _chunks(path: Path, file: BinaryIO, advance: Callable[[int], None]) -> Iterator[bytes]:
    while True:
        with storage_errors(input_name(path)):
            chunk = file.read(CHUNK_BYTES)
        if not chunk:
            return
        advance(len(chunk))
        yield chunk


def _format_of(path: Path, lines: Sequence[bytes]) -> RecordingFormat:
    for line in lines:
        if _LOG_LINE.search(line):
            return RecordingFormat.SNAPSHOTTER
        if is_call(line):
            return RecordingFormat.STRACE
    raise InvalidRequest(
        f"{input_name(path)}: neither the snapshotter's log nor the output of strace; --format says which it is"
    )


def _notes(found: RecordingFormat, read: Recording, *, has_image: bool) -> list[str]:
    notes = list(read.notes)
    if found is RecordingFormat.SNAPSHOTTER and not has_image:
        notes.append("the log does not tell images apart; --image IMAGE leaves out the files of others")
    return notes


def _lines(read: Recording, start: ImportedStart) -> Iterator[str]:
    profile = start.profile
    files, lines = count_text(len(profile.files), "file"), count_text(read.lines, "line")
    yield f"{files} in {_seconds(profile):.1f} s, from {lines}"
    if profile.program is not None:
        yield f"program {shown(profile.program)}"
    if start.left_out:
        yield f"{count_text(start.left_out, 'path')} left out: no file of the image"


def _document(
    found: RecordingFormat, read: Recording, start: ImportedStart, output: Path | None
) -> dict[str, object]:
    profile = start.profile
    return {
        "format": found,
        "lines": read.lines,
        "other_lines": read.other_lines,
        "files": len(profile.files),
        "left_out": start.left_out,
        "seconds": _seconds(profile),
        "program": None if profile.program is None else shown(profile.program),
        "image": None if profile.image is None else str(profile.image),
        "platform": None if profile.platform is None else str(profile.platform),
        "notes": _notes(found, read, has_image=profile.image is not None),
        "output": str(output),
    }


def _seconds(profile: StartProfile) -> float:
    return profile.files[-1].first_ms / 1000
