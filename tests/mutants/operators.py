"""The small faults: what an expression or a statement may be changed into.

Each operator is given a node and yields nodes of the same kind, each with one thing wrong. They are the usual ones of
mutation testing (DeMillo, Lipton and Sayward 1978; Offutt et al. 1996) and some for arrays: axes, extremes, keywords.
"""

import ast
import copy
from collections.abc import Iterator
from typing import Any

_ARITHMETIC: dict[type[ast.operator], list[type[ast.operator]]] = {
    ast.Add: [ast.Sub],
    ast.Sub: [ast.Add],
    ast.Mult: [ast.Div],
    ast.Div: [ast.Mult],
    ast.FloorDiv: [ast.Div, ast.Mult],
    ast.Mod: [ast.FloorDiv],
    ast.Pow: [ast.Mult],
    ast.LShift: [ast.RShift],
    ast.RShift: [ast.LShift],
    ast.BitAnd: [ast.BitOr],
    ast.BitOr: [ast.BitAnd],
    ast.BitXor: [ast.BitAnd],
}
_COMPARISONS: dict[type[ast.cmpop], list[type[ast.cmpop]]] = {
    ast.Lt: [ast.LtE, ast.GtE],
    ast.LtE: [ast.Lt, ast.Gt],
    ast.Gt: [ast.GtE, ast.LtE],
    ast.GtE: [ast.Gt, ast.Lt],
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
}
_PAIRS = [
    ("min", "max"),
    ("any", "all"),
    ("amin", "amax"),
    ("argmin", "argmax"),
    ("minimum", "maximum"),
    ("zeros", "ones"),
    ("floor", "ceil"),
    ("clamp_min", "clamp_max"),
    ("sum", "mean"),
    ("bisect_left", "bisect_right"),
    ("log", "log2"),
    ("append", "remove"),
    ("lower", "upper"),
    ("startswith", "endswith"),
    ("intersection", "union"),
]
_CALLS = {a: b for pair in _PAIRS for a, b in (pair, pair[::-1])} | {"mean": "sum", "sorted": "list", "abs": "float"}

_SYMMETRIC = {"min", "max", "minimum", "maximum", "gcd", "lcm", "hypot", "isclose"}
HARMLESS = {"encoding", "strict"}  # keywords that say what holds anyway


def _with(node: ast.AST, **fields: Any) -> Any:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def expressions(node: ast.AST) -> Iterator[ast.expr]:
    """The wrong expressions that may stand for a right one."""
    match node:
        case ast.BinOp():
            yield from (_with(node, op=op()) for op in _ARITHMETIC.get(type(node.op), []))
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as value)):
            yield ast.Constant(1 - value)  # the last is the first: of a row, of axes
            yield ast.Constant(-value - 1)
        case ast.UnaryOp(op=ast.USub() | ast.Not() | ast.Invert()):
            yield node.operand
        case ast.Compare(ops=[op]):
            yield from (_with(node, ops=[other()]) for other in _COMPARISONS[type(op)])
        case ast.Compare():
            for i, op in enumerate(node.ops):
                other = _COMPARISONS[type(op)][0]()
                yield _with(node, ops=[*node.ops[:i], other, *node.ops[i + 1 :]])
        case ast.BoolOp():
            yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
            yield from (value for value in (node.values[0], node.values[-1]))
        case ast.IfExp():
            yield _with(node, body=node.orelse, orelse=node.body)
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() as value):
            yield from (ast.Constant(other) for other in ([1] if value == 0 else [value + 1, value - 1]))
        case ast.Constant(value=float() as value):
            yield ast.Constant(value * 2 if value else 1.0)
        case ast.Subscript(slice=ast.Slice() as part):
            for name in ("lower", "upper", "step"):
                if getattr(part, name) is not None:
                    yield _with(node, slice=_with(part, **{name: None}))
        case ast.Call():
            yield from _calls(node)
        case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
            for i, part in enumerate(node.generators):
                if part.ifs:
                    yield _with(node, generators=[*node.generators[:i], _with(part, ifs=[]), *node.generators[i + 1 :]])


def _calls(node: ast.Call) -> Iterator[ast.expr]:
    match node.func:
        case ast.Name(id=name) if name in _CALLS:
            yield _with(node, func=ast.Name(_CALLS[name], ast.Load()))
        case ast.Attribute(attr=name) if name in _CALLS:
            yield _with(node, func=_with(node.func, attr=_CALLS[name]))
    called = ast.unparse(node.func).split(".")[-1]
    if len(node.args) >= 2 and called not in _SYMMETRIC and not any(isinstance(a, ast.Starred) for a in node.args[:2]):
        yield _with(node, args=[node.args[1], node.args[0], *node.args[2:]])
    for i, keyword in enumerate(node.keywords):
        if keyword.arg is not None and keyword.arg not in HARMLESS:
            yield _with(node, keywords=node.keywords[:i] + node.keywords[i + 1 :])


def statements(node: ast.AST) -> Iterator[ast.stmt]:
    """The wrong statements that may stand for a right one that fits one line."""
    match node:
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.Raise() | ast.Delete() | ast.Assert():
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()
        case ast.AugAssign():
            yield ast.Pass()
            for op in _ARITHMETIC.get(type(node.op), []):
                yield _with(node, op=op())
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield ast.Return(ast.Constant(None))


def conditions(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """What a compound statement asks or goes through, beside the contrary of it."""
    match node:
        case ast.If() | ast.While():
            if not isinstance(node.test, ast.UnaryOp | ast.Compare):  # of those the contrary comes by itself
                yield node.test, ast.UnaryOp(ast.Not(), node.test)
        case ast.For():
            yield node.iter, ast.Tuple([], ast.Load())
