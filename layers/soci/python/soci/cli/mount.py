"""`soci-index mount`: an image as a read-only file system, read through its index."""

from __future__ import annotations

import logging
import sys
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from soci.cli.background import detached
from soci.cli.mount_log import mount_log
from soci.cli.options import ImageArgument, JsonOption, OnePlatformOption, parse_size
from soci.cli.recording import recording
from soci.cli.terminal import count_text, print_error, print_json, print_lines, progress_bars, size_text
from soci.errors import InvalidOption
from soci.image.filesystem import FileSystem, shown
from soci.image.indexed import IndexedImage, open_image
from soci.mount.cache_directory import DEFAULT_CACHE_BYTES, open_span_cache
from soci.mount.fuse_library import load_fuse
from soci.mount.inodes import Inode, InodeTable
from soci.mount.mount_point import check_directory, check_rights, is_root
from soci.mount.operations import ImageOperations
from soci.mount.recorder import Recorder
from soci.mount.session import MountOptions, serve
from soci.mount.span_store import SpanStore, open_span_store
from soci.oci.platform import Platform
from soci.oci.reference import parse_reference
from soci.places.open import open_source
from soci.start.profile import StartProfile

_LOG = logging.getLogger("soci.mount")

_MAX_LEFT_OUT = 10
"""So many paths are named in the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheOptions:
    """Where spans are kept."""

    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache",
            metavar="DIR",
            help="Keep what was read in this directory, for later mounts and for several at a time. Without it, what "
            "was read goes with the mount.",
            file_okay=False,
        ),
    ] = None
    cache_size: Annotated[
        int,
        typer.Option("--cache-size", parser=parse_size, metavar="SIZE", help="What the cache may take."),
    ] = DEFAULT_CACHE_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordOptions:
    """What is recorded."""

    record: Annotated[
        Path | None,
        typer.Option(
            "--record",
            metavar="FILE",
            help="Write what was read, in order, as a start profile: at the end, and on SIGUSR1.",
            dir_okay=False,
        ),
    ] = None
    record_for: Annotated[
        float | None,
        typer.Option(
            "--record-for", metavar="SECONDS", min=0.1, help="Stop recording so long after the first read."
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryOptions:
    """How the directory looks to programs, and what becomes of the command."""

    suid: Annotated[
        bool,
        typer.Option(
            "--suid", help="Let set-user-id bits and file capabilities of the image count; root only."
        ),
    ] = False
    dev: Annotated[
        bool, typer.Option("--dev", help="Let device files of the image be opened; root only.")
    ] = False
    background: Annotated[
        bool, typer.Option("--background", help="Return when the image is mounted; `umount DIR` ends it.")
    ] = False
    log: Annotated[
        Path | None,
        typer.Option(
            "--log",
            metavar="FILE",
            help="Write warnings to this file, not to standard error.",
            dir_okay=False,
        ),
    ] = None


def mount(
    image: ImageArgument,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="an empty directory", show_default=False)],
    *,
    platform: OnePlatformOption = None,
    prefetch: Annotated[
        bool,
        typer.Option("--prefetch", help="First fetch what the index names for the start, up to 30 seconds."),
    ] = False,
    cache_options: CacheOptions,
    record_options: RecordOptions,
    options: DirectoryOptions,
    as_json: JsonOption = False,
) -> None:
    """Mount an image: its files, all layers merged, fetched when they are read.

    Ends on Ctrl-C, SIGTERM and `umount DIR`. With --json print one document at the end.
    """
    reference = parse_reference(image)
    directory = directory.absolute()
    _check(directory, options, record_options)
    with ExitStack() as stack:
        leave_terminal = stack.enter_context(detached()) if options.background else None
        stack.enter_context(mount_log(options.log))
        source = open_source(reference)
        opened = open_image(source, None if platform is None else Platform.parse(platform))
        cache = stack.enter_context(open_span_cache(cache_options.cache, size_bytes=cache_options.cache_size))
        with progress_bars() as progress:
            store = stack.enter_context(open_span_store(source, opened, cache, progress=progress))
        table = _inodes(store)
        if prefetch:
            store.prefetch()
        recorder = _recorder(record_options, opened, store, stack)

        def tell_ready() -> None:
            line = f"mounted {image} at {directory}"
            with suppress(OSError):  # nobody reads it
                if as_json:
                    print_error(line)
                else:
                    print_lines([line])
                    sys.stdout.flush()
            if leave_terminal is not None:
                leave_terminal()

        operations = ImageOperations(table, store, watcher=recorder)
        mount_options = MountOptions(name=image, suid=options.suid, dev=options.dev)
        serve(operations, directory, mount_options, on_ready=tell_ready)
        _report(store, as_json=as_json)


def _check(directory: Path, options: DirectoryOptions, record_options: RecordOptions) -> None:
    if (options.suid or options.dev) and not is_root():
        raise InvalidOption("--suid and --dev need root")
    if record_options.record_for is not None and record_options.record is None:
        raise InvalidOption("--record-for goes with --record FILE")
    check_directory(directory)
    check_rights(directory)
    load_fuse()


def _inodes(store: SpanStore) -> InodeTable:
    for layer in store.layers:
        if layer.left_out is not None:
            _LOG.warning("layer %s is shown only in part: %s", layer.digest, layer.left_out)
    table = InodeTable(FileSystem.of([layer.entries for layer in store.layers]))
    for path, reason in table.left_out[:_MAX_LEFT_OUT]:
        _LOG.warning("%s is left out: %s", shown(path), reason)
    if len(table.left_out) > _MAX_LEFT_OUT:
        _LOG.warning("%d more paths are left out", len(table.left_out) - _MAX_LEFT_OUT)
    return table


def _recorder(
    options: RecordOptions, opened: IndexedImage, store: SpanStore, stack: ExitStack
) -> Recorder | None:
    if options.record is None:
        return None
    recorder = Recorder(seconds=options.record_for)

    def spans_of(inode: Inode, start: int, end: int) -> range:
        at = inode.entry.uncompressed_offset if inode.entry else 0
        return store.spans_of(inode.layer, at + start, at + end)

    def make() -> StartProfile:
        return recorder.profile(
            image=opened.image.descriptor.digest,
            platform=opened.image.platform,
            layer_of=lambda inode: store.layers[inode.layer].digest,
            spans_of=spans_of,
        )

    stack.enter_context(recording(options.record, recorder, make))
    return recorder


def _report(store: SpanStore, *, as_json: bool) -> None:
    counts = store.counts
    if as_json:
        print_json(asdict(counts))
    else:
        print_lines(
            [
                f"unmounted: {count_text(counts.requests, 'request')}, {size_text(counts.bytes_fetched)} fetched"
            ]
        )
