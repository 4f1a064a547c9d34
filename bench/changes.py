"""Small changes of a module's source that its tests should notice, found in its syntax tree.

Each change replaces one piece of text and breaks one thing: a comparison, a condition, a number, a call. Docstrings,
annotations, decorators and sentences for people stay as they are: tests need not notice those.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARISONS = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
_ARITHMETIC = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "+"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change: the bytes from `start` to `end` of the source become `replacement`."""

    operator: str
    line: int
    start: int
    end: int
    replacement: bytes

    def apply(self, source: bytes) -> bytes:
        """Return the changed source."""
        return source[: self.start] + self.replacement + source[self.end :]

    def describe(self, source: bytes) -> str:
        """Return operator, line, and the line's text with the old and the new piece in brackets."""
        start, end = source.rfind(b"\n", 0, self.start) + 1, source.find(b"\n", self.end)
        old, new = source[self.start : self.end], self.replacement
        text = source[start : self.start] + b"[" + old + b" -> " + new + b"]" + source[self.end : end]
        return f"{self.operator:<10} line {self.line}: {' '.join(text.decode().split())}"


def find_changes(source: bytes) -> list[Change]:
    """Return all changes of a module's source, in the order of its text."""
    return sorted(_Finder(source).changes(), key=lambda change: (change.start, change.end))


class _Finder:
    """Walks the syntax tree, which counts lines from 1 and columns in bytes."""

    def __init__(self, source: bytes) -> None:
        self._source = source
        self._line_starts = [0]
        for line in source.splitlines(keepends=True):
            self._line_starts.append(self._line_starts[-1] + len(line))

    def changes(self) -> Iterator[Change]:
        for node in _code(ast.parse(self._source)):
            yield from self._changes_of(node)

    def _changes_of(self, node: ast.AST) -> Iterator[Change]:
        match node:
            case ast.Compare():
                return self._comparisons(node)
            case ast.BoolOp():
                return self._boolean(node)
            case ast.If() | ast.IfExp() | ast.While() | ast.comprehension():
                return self._conditions(node)
            case ast.BinOp(left=left, right=right) | ast.AugAssign(target=left, value=right):
                words = _ARITHMETIC.get(type(node.op), ("", ""))
                suffix = "=" if isinstance(node, ast.AugAssign) else ""
                return self._between("arithmetic", left, right, *(word + suffix for word in words))
            case ast.Constant():
                return self._constants(node)
            case _:
                return self._removals(node)

    def _conditions(self, node: ast.If | ast.IfExp | ast.While | ast.comprehension) -> Iterator[Change]:
        match node:
            case ast.comprehension():
                yield from (self._replace("condition", test, b"True") for test in node.ifs)
            case ast.While():
                if not isinstance(node.test, ast.Constant):
                    yield self._replace("condition", node.test, b"False")
            case _:
                yield from (self._replace("condition", node.test, word) for word in (b"True", b"False"))

    def _removals(self, node: ast.AST) -> Iterator[Change]:
        match node:
            case ast.UnaryOp(op=ast.Not()):
                yield self._replace("boolean", node, self._text(node.operand))
            case ast.Slice():
                bounds = (bound for bound in (node.lower, node.upper) if bound is not None)
                yield from (self._replace("bound", bound, b"None") for bound in bounds)
            case ast.Return(value=ast.expr() as value) if not _is_none(value):
                yield self._replace("return", value, b"None")
            case ast.Expr(value=ast.Call()):
                yield self._replace("call", node, b"None")

    def _comparisons(self, node: ast.Compare) -> Iterator[Change]:
        sides = [node.left, *node.comparators]
        for left, operator, right in zip(sides, node.ops, sides[1:], strict=False):
            yield from self._between("compare", left, right, *_COMPARISONS[type(operator)])

    def _boolean(self, node: ast.BoolOp) -> Iterator[Change]:
        words, neutral = (
            (("and", "or"), b"True") if isinstance(node.op, ast.And) else (("or", "and"), b"False")
        )
        for left, right in zip(node.values, node.values[1:], strict=False):
            yield from self._between("boolean", left, right, *words)
        for value in node.values:
            if not isinstance(value, ast.Constant | ast.Tuple | ast.Dict):
                yield self._replace("condition", value, neutral)

    def _constants(self, node: ast.Constant) -> Iterator[Change]:
        match node.value:
            case bool():
                yield self._replace("constant", node, str(not node.value).encode())
            case int():
                yield self._replace("constant", node, str(node.value + 1).encode())
            case str() if " " not in node.value:
                yield self._replace("constant", node, repr(node.value + "x").encode())
            case bytes():
                yield self._replace("constant", node, repr(node.value + b"x").encode())

    def _between(
        self, operator: str, left: ast.expr, right: ast.expr, old: str, new: str
    ) -> Iterator[Change]:
        """Replace the operator that stands between two expressions."""
        start = self._source.find(old.encode(), self._end(left), self._start(right))
        if old and start >= 0:
            line = self._source.count(b"\n", 0, start) + 1
            yield Change(
                operator=operator, line=line, start=start, end=start + len(old), replacement=new.encode()
            )

    def _replace(self, operator: str, node: ast.expr | ast.stmt, replacement: bytes) -> Change:
        start, end = self._start(node), self._end(node)
        return Change(operator=operator, line=node.lineno, start=start, end=end, replacement=replacement)

    def _text(self, node: ast.expr) -> bytes:
        return self._source[self._start(node) : self._end(node)]

    def _start(self, node: ast.expr | ast.stmt) -> int:
        return self._line_starts[node.lineno - 1] + node.col_offset

    def _end(self, node: ast.expr | ast.stmt) -> int:
        return self._line_starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


_LEFT_ALONE = {"annotation", "returns", "decorator_list"}


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """Walk what runs and is not for people: no annotations, no decorators, no texts of errors."""
    yield node
    if isinstance(node, ast.JoinedStr | ast.Raise) or _is_text(node):
        return
    for field, value in ast.iter_fields(node):
        if field not in _LEFT_ALONE:
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from _code(child)


def _is_text(node: ast.AST) -> bool:
    """Return whether a statement is a docstring."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
