"""The mutants of one file: where each stands, what it changes and the text with the change."""

import ast
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.mutants import operators


@dataclass(frozen=True)
class Mutant:
    """One fault. `key` names it by content: the definition, the line and the change, never by number or folder."""

    path: str  # from the root of the tree
    lines: range  # of what is changed
    body: range  # of the innermost definition around it; all lines of a module's own statements
    at_import: bool  # a default, a constant: done once, when the module is imported
    names: tuple[str, ...]  # what a statement that is done at import gives a value to
    scope: str  # such as Packer.add
    line: str
    change: str
    number: int  # among those that look the same
    within: str  # hash of the definition
    span: tuple[int, int]  # bytes of the file that are replaced
    fresh: str  # by this

    @property
    def key(self) -> tuple[str, str, str]:
        return self.scope, self.line, self.change

    @property
    def name(self) -> str:
        """One word for it that stays while its definition does."""
        return hashlib.sha256("\0".join((*self.key, str(self.number), self.within)).encode()).hexdigest()[:16]

    def text(self, root: Path) -> str | None:
        """The whole file with the fault, or None where that is no Python, or the same program."""
        source = (root / self.path).read_bytes()
        text = (source[: self.span[0]] + self.fresh.encode() + source[self.span[1] :]).decode()
        try:
            same = ast.dump(ast.parse(text)) == ast.dump(ast.parse(source))
            compile(text, self.path, "exec")
        except (SyntaxError, ValueError):
            return None
        return None if same else text


def mutants(root: Path, path: str) -> list[Mutant]:
    """All that can be planted in a file, in order."""
    text = (root / path).read_text(encoding="utf-8")
    return list(_File(path, text).all())


class _File:
    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.tree = ast.parse(text)
        self.hashes: dict[ast.AST, str] = {}
        self.source = text.encode()
        self.rows = self.source.split(b"\n")
        self.starts = [0]
        for row in self.rows:
            self.starts.append(self.starts[-1] + len(row) + 1)
        self.seen: Counter[tuple[str, str, str]] = Counter()

    def all(self) -> Iterator[Mutant]:
        yield from self._walk(self.tree, [], None)

    def _hash(self, node: ast.AST) -> str:
        if node not in self.hashes:
            self.hashes[node] = hashlib.sha256(ast.unparse(node).encode()).hexdigest()
        return self.hashes[node]

    def _walk(self, node: ast.AST, scopes: list[ast.AST], statement: ast.stmt | None) -> Iterator[Mutant]:
        if isinstance(node, ast.stmt):
            statement = node
        if _typing_only(node):
            return
        if statement is not None and not _docstring(node):
            for new in operators.statements(node):
                yield from self._mutant(node, new, scopes, statement)
            for old, new in operators.conditions(node):
                yield from self._mutant(old, new, scopes, statement)
            for new in operators.expressions(node):
                yield from self._mutant(node, new, scopes, statement)
        inner = [*scopes, node] if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) else scopes
        if isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant):
            return  # a negative number is one constant
        for field, child in _children(node):
            own = inner if field in ("body", "args") else scopes
            yield from self._walk(child, own, statement)

    def _mutant(self, old: ast.AST, new: ast.AST, scopes: list[ast.AST], statement: ast.stmt) -> Iterator[Mutant]:
        begin = self.starts[old.lineno - 1] + old.col_offset  # type: ignore[attr-defined]
        end = self.starts[old.end_lineno - 1] + old.end_col_offset  # type: ignore[attr-defined]
        fresh = ast.unparse(new)
        shown = fresh if isinstance(new, ast.stmt) else f"({fresh})"
        scope = ".".join(s.name for s in scopes)  # type: ignore[attr-defined]
        line = self.rows[old.lineno - 1].decode().strip()  # type: ignore[attr-defined]
        change = f"{_short(ast.unparse(old))} → {_short(fresh)}"
        if isinstance(old, ast.expr) and end - begin < 4:  # such as a 1: which of them?
            row = self.rows[old.lineno - 1]
            around = row[max(0, old.col_offset - 12) : old.col_offset], row[old.end_col_offset :][:8]
            change = f"{around[0].decode(errors='ignore').lstrip()}[{change}]{around[1].decode(errors='ignore')}"
        self.seen[scope, line, change] += 1
        function = next((s for s in reversed(scopes) if not isinstance(s, ast.ClassDef)), None)
        holder = scopes[-1] if scopes else self.tree
        body = range(1, len(self.rows) + 1) if not scopes else range(holder.lineno, holder.end_lineno + 1)  # type: ignore[attr-defined]
        yield Mutant(
            path=self.path,
            lines=range(old.lineno, old.end_lineno + 1),  # type: ignore[attr-defined]
            body=body,
            at_import=function is None or statement is function,
            names=_targets(statement),
            scope=scope,
            line=line,
            change=change,
            number=self.seen[scope, line, change],
            within=self._hash(holder if scopes else statement),
            span=(begin, end),
            fresh=shown,
        )


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 70 else f"{line[:40]} … {line[-25:]}"


def _children(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """What is run: no types, no decorators, and no text that is only put together."""
    skipped = ("annotation", "returns", "decorator_list", "bases", "keywords" if isinstance(node, ast.ClassDef) else "")
    for field, value in ast.iter_fields(node):
        if field in skipped:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.keyword) and child.arg in operators.HARMLESS:
                continue
            if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr | ast.Import | ast.ImportFrom):
                yield field, child


def _docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _typing_only(node: ast.AST) -> bool:
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return True
    return isinstance(node, ast.Call) and ast.unparse(node.func) in ("cast", "TypeVar", "NewType", "Literal")


def _targets(statement: ast.stmt) -> tuple[str, ...]:
    given: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        given = statement.targets
    elif isinstance(statement, ast.AnnAssign | ast.AugAssign):
        given = [statement.target]
    return tuple(node.id for target in given for node in ast.walk(target) if isinstance(node, ast.Name))
