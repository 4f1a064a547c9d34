"""`soci-index ls` and `soci-index cat`: the files of an image, read through its index."""

from __future__ import annotations

import glob
import hashlib
import sys
from typing import Annotated

import typer

from soci.cli.options import ImageArgument, JsonOption, OnePlatformOption
from soci.cli.terminal import print_error, print_json, print_lines, print_table, size_text
from soci.image.files import ImageFiles, open_image_files
from soci.image.filesystem import Node, shown
from soci.image.indexed import open_image
from soci.oci.platform import Platform
from soci.oci.reference import parse_reference
from soci.places.counting import CountingSource
from soci.places.open import open_source

_LS_COLUMNS = ("TYPE", "MODE", "OWNER", "SIZE", "LAYER", "PATH")


def ls(
    image: ImageArgument,
    path: Annotated[str, typer.Argument(metavar="PATH", help="A directory or file.")] = "/",
    *,
    long: Annotated[
        bool, typer.Option("--long", "-l", help="Show type, mode, owner, size and layer.")
    ] = False,
    recursive: Annotated[bool, typer.Option("--recursive", "-R", help="List subdirectories too.")] = False,
    platform: OnePlatformOption = None,
    as_json: JsonOption = False,
) -> None:
    """List files as a container sees them: all layers merged, read through their zTOCs."""
    source = open_source(parse_reference(image))
    opened = open_image(source, None if platform is None else Platform.parse(platform))
    files = open_image_files(source, opened)
    nodes = _nodes(files, path, recursive=recursive)
    if as_json:
        print_json({"path": path, "entries": [_node_document(node) for node in nodes]})
    elif long:
        print_table(_LS_COLUMNS, [_long_row(node) for node in nodes], right=("SIZE", "LAYER"))
    else:
        print_lines([_line(node, recursive=recursive) for node in nodes])
    for number, left_out in files.left_out.items():
        print_error(f"layer {number} was read only in part: {left_out}")


def _nodes(files: ImageFiles, path: str, *, recursive: bool) -> tuple[Node, ...]:
    raw = path.encode("utf-8", "surrogateescape")
    if not recursive:
        return files.tree.list(raw)
    top = files.tree.lookup(raw)
    return files.tree.glob(glob.escape(top.path) + b"/**") if top.type == "dir" else (top,)


def cat(
    image: ImageArgument,
    path: Annotated[str, typer.Argument(metavar="PATH", help="A file; links are followed.")],
    *,
    platform: OnePlatformOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a file's content to standard output, reading only the spans that hold it.

    With --json print only what was read: path, size, SHA-256, layer, bytes read.
    """
    source = CountingSource(open_source(parse_reference(image)))
    opened = open_image(source, None if platform is None else Platform.parse(platform))
    files = open_image_files(source, opened)
    node = files.tree.lookup(path.encode("utf-8", "surrogateescape"))
    content_hash = hashlib.sha256()
    size_bytes = 0
    for piece in files.read(node):
        content_hash.update(piece)
        size_bytes += len(piece)
        if not as_json:
            sys.stdout.buffer.write(piece)
    if as_json:
        layer = opened.layers[node.data_layer]
        print_json(
            {
                "path": shown(node.path),
                "size_bytes": size_bytes,
                "sha256": content_hash.hexdigest(),
                "layer": str(layer.descriptor.digest),
                "indexed": layer.ztoc is not None,
                "bytes_read": source.bytes_read,
                "image_bytes": sum(one.descriptor.size for one in opened.layers),
            }
        )


def _line(node: Node, *, recursive: bool) -> str:
    name = node.path if recursive else node.path.rstrip(b"/").rpartition(b"/")[2] or b"/"
    return shown(name) + ("/" if node.type == "dir" and name != b"/" else "")


def _long_row(node: Node) -> tuple[str, ...]:
    entry = node.entry
    if entry is None:
        return ("dir", "", "", "", str(node.layer), shown(node.path))
    owner = f"{shown(entry.user_name) or entry.uid}:{shown(entry.group_name) or entry.gid}"
    link = f" -> {shown(entry.link_name)}" if entry.link_name else ""
    size = size_text(node.data.uncompressed_size) if node.data and node.type == "reg" else ""
    return (entry.type, f"{entry.mode:o}", owner, size, str(node.layer), shown(node.path) + link)


def _node_document(node: Node) -> dict[str, object]:
    document: dict[str, object] = {"path": shown(node.path), "type": node.type, "layer": node.layer}
    if node.entry is not None:
        document |= {
            "size_bytes": node.data.uncompressed_size if node.data else 0,
            "mode": node.entry.mode,
            "uid": node.entry.uid,
            "gid": node.entry.gid,
            "modified": node.entry.mod_time,
            "link": shown(node.entry.link_name) or None,
        }
    return document
