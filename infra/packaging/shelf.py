"""A cache of built trees, keyed by their inputs and safe for concurrent builds."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from infra.packaging.tree import Tree, make_plain, read_tree


def keep_tree(shelf: Path, name: str, *, inputs: Iterable[bytes], fill: Callable[[Path], None]) -> Tree:
    """Return the tree that `fill` makes from the inputs, from the shelf if it is there.

    A tree appears on the shelf complete, by one rename. Of concurrent builds the first to finish wins. A tree that
    was changed after its build is built again.
    """
    key = hashlib.sha256()
    for piece in inputs:
        key.update(hashlib.sha256(piece).digest())
    entry = shelf / f"{name}-{key.hexdigest()[:16]}"
    return _intact(entry) or _build(entry, fill)


def _intact(entry: Path) -> Tree | None:
    try:
        want = (entry / "digest").read_text()
    except FileNotFoundError:
        return None
    tree = read_tree(entry / "tree")
    return tree if tree.digest == want else None


def _build(entry: Path, fill: Callable[[Path], None]) -> Tree:
    entry.parent.mkdir(parents=True, exist_ok=True)
    workshop = Path(tempfile.mkdtemp(prefix=".building-", dir=entry.parent))
    try:
        made = workshop / entry.name
        (made / "tree").mkdir(parents=True)
        fill(made / "tree")
        make_plain(made / "tree")
        (made / "digest").write_text(read_tree(made / "tree").digest)
        return _put_up(made, entry, aside=workshop / "before")
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def _put_up(made: Path, entry: Path, *, aside: Path) -> Tree:
    if entry.exists():
        tree = _intact(entry)
        if tree is not None:  # another build finished first
            return tree
        entry.rename(aside)
    try:
        made.rename(entry)
    except OSError:  # another build finished meanwhile
        if not entry.exists():
            raise
    return read_tree(entry / "tree")
