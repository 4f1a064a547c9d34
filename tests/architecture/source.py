"""The project's own source, parsed: what the architecture tests look at."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
CORE = ROOT / "layers/soci/python"
SOURCE_FOLDERS = [CORE, *(ROOT / name for name in ("infra", "lambdas", "local", "bench", "docs"))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A module of the core under its dotted name, or of another folder under its path."""

    path: Path
    name: str
    tree: ast.Module

    def imports(self) -> Iterator[str]:
        """Dotted names of all it imports, wherever in the module; for `from a import b` both a and a.b."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.path}:{node.lineno}: relative import"
                assert node.module is not None
                yield node.module
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def core_modules() -> list[Module]:
    """All modules of the package soci, sorted by name."""
    return [_parse(path, base=CORE) for path in sorted(CORE.rglob("*.py"))]


def all_modules() -> list[Module]:
    """All modules that are not tests, sorted by folder and path."""
    folders = [(folder, CORE if folder == CORE else ROOT) for folder in SOURCE_FOLDERS]
    return [_parse(path, base=base) for folder, base in folders for path in sorted(folder.rglob("*.py"))]


def _parse(path: Path, *, base: Path) -> Module:
    parts = path.relative_to(base).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Module(path=path.relative_to(ROOT), name=name, tree=ast.parse(path.read_bytes()))
