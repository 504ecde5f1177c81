"""Small faults to plant in numerical code: every one that the operators below can make of a module.

A fault is one change to the syntax tree: a sign, a constant off by one, a comparison that takes or
leaves the border, a swapped function, a statement or a keyword left out, a branch always or never
taken. Annotations, docstrings, error messages and imports are left alone: no test of numbers could
tell, or every test would.
"""

import ast
import copy
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

_ARITHMETIC: dict[type[ast.operator], tuple[type[ast.operator], ...]] = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div,),
    ast.Div: (ast.Mult,),
    ast.FloorDiv: (ast.Div, ast.Mult),
    ast.Mod: (ast.FloorDiv,),
    ast.Pow: (ast.Mult,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
}

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}

_PAIRS = (
    ("max", "min"),
    ("maximum", "minimum"),
    ("sum", "mean"),
    ("zeros", "ones"),
    ("zeros_like", "ones_like"),
    ("ones", "zeros"),
    ("any", "all"),
    ("exp", "expm1"),
    ("log", "log1p"),
    ("sqrt", "square"),
    ("rsqrt", "sqrt"),
    ("argmax", "argmin"),
    ("var", "std"),
)
_NAMES = {**{b: a for a, b in _PAIRS}, **dict(_PAIRS)}


class Mutant(NamedTuple):
    """One fault in one module.

    Attributes:
        name: module, function and change; stays the same while they do
        source: the whole module with the fault in it
    """

    name: str
    source: str

    def rank(self, seed: int) -> str:
        """Where it stands in the order that samples are taken in: a hash, so order is no matter."""
        return hashlib.sha256(f"{seed}:{self.name}".encode()).hexdigest()


def mutants(module: str, source: str) -> list[Mutant]:
    """Every mutant of a module, in the order of its text."""
    tree = ast.parse(source)
    seen: Counter[str] = Counter()
    found = []
    for place, function in _places(tree):
        for changed in _changes(_at(tree, place)):
            copied = copy.deepcopy(tree)
            _put(copied, place, changed)
            mutated = ast.unparse(ast.fix_missing_locations(copied))
            name = f"{module} {function}: {_shown(tree, place)} -> {_shown(copied, place)}"
            seen[name] += 1
            if mutated != ast.unparse(tree):
                number = f" #{seen[name]}" if seen[name] > 1 else ""
                found.append(Mutant(name + number, mutated))
    return found


Place = tuple[tuple[str, int | None], ...]


def _places(tree: ast.Module) -> Iterator[tuple[Place, str]]:
    """Every node that may change, by its path from the root, with its function's name."""

    def walk(node: ast.AST, place: Place, function: str) -> Iterator[tuple[Place, str]]:
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Raise | ast.JoinedStr):
            # What is raised: its type and message are the matter of tests of messages.
            if isinstance(node, ast.Raise):
                yield place, function
            return
        yield place, function
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            function = f"{function}.{node.name}" if function else node.name
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns", "decorator_list", "bases", "type_params"):
                continue
            if isinstance(value, list):
                for i, child in enumerate(value):
                    if isinstance(child, ast.AST) and not _is_text(child):
                        yield from walk(child, (*place, (field, i)), function)
            elif isinstance(value, ast.AST):
                yield from walk(value, (*place, (field, None)), function)

    for i, statement in enumerate(tree.body):
        if isinstance(statement, ast.FunctionDef | ast.ClassDef) or (
            isinstance(statement, ast.Assign) and not _is_alias(statement)
        ):
            yield from walk(statement, (("body", i),), "")


def _is_text(node: ast.AST) -> bool:
    """A docstring."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _is_alias(node: ast.Assign) -> bool:
    """`__all__`, or the name of a type, such as `Number = float | Array`."""
    names = [target.id for target in node.targets if isinstance(target, ast.Name)]
    return any(n.startswith("__") or (n[:1].isupper() and not n.isupper()) for n in names)


def _at(node: ast.AST, place: Place) -> ast.AST:
    for field, i in place:
        node = getattr(node, field) if i is None else getattr(node, field)[i]
    return node


def _put(tree: ast.AST, place: Place, changed: ast.AST) -> None:
    parent = _at(tree, place[:-1])
    field, i = place[-1]
    if i is None:
        setattr(parent, field, changed)
    else:
        getattr(parent, field)[i] = changed


def _shown(tree: ast.AST, place: Place) -> str:
    """The text of a node: with what is around it where it says little by itself."""
    node = _at(tree, place)
    if isinstance(node, ast.If | ast.While):
        return f"if {ast.unparse(node.test)}"
    parent = _at(tree, place[:-1])
    little = len(ast.unparse(node)) < 12 and isinstance(parent, ast.expr | ast.keyword | ast.Slice)
    return _shown(tree, place[:-1]) if little else " ".join(ast.unparse(node).split())


def _changes(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in a node's place, for each fault that fits it."""
    for operator in _OPERATORS:
        yield from operator(node)


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.deepcopy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _binary(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.BinOp):
        for other in _ARITHMETIC.get(type(node.op), ()):
            yield _with(node, op=other())
        if isinstance(node.op, ast.Mult | ast.MatMult | ast.Add | ast.Sub):
            yield node.left


def _comparison(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Compare):
        for i, operator in enumerate(node.ops):
            for other in _COMPARISONS[type(operator)]:
                yield _with(node, ops=[*node.ops[:i], other(), *node.ops[i + 1 :]])


def _boolean(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.BoolOp):
        yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
        if len(node.values) > 1:
            for i in range(len(node.values)):
                rest = node.values[:i] + node.values[i + 1 :]
                yield _with(node, values=rest) if len(rest) > 1 else rest[0]
    if isinstance(node, ast.UnaryOp) and not isinstance(node.operand, ast.Constant):
        yield node.operand


def _constant(node: ast.AST) -> Iterator[ast.AST]:
    if not isinstance(node, ast.Constant):
        return
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        yield ast.Constant(value + 1)
        yield ast.Constant(value - 1)
    elif isinstance(value, float):
        yield ast.Constant(2 * value if value else 1.0)


def _condition(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.If | ast.While):
        for value in (True, False):
            if not (value and isinstance(node, ast.While)):
                yield _with(node, test=ast.Constant(value))
    if isinstance(node, ast.IfExp):
        yield node.body
        yield node.orelse


def _call(node: ast.AST) -> Iterator[ast.AST]:
    if not isinstance(node, ast.Call):
        return
    function = node.func
    if isinstance(function, ast.Attribute) and function.attr in _NAMES:
        yield _with(node, func=_with(function, attr=_NAMES[function.attr]))
    elif isinstance(function, ast.Name) and function.id in ("max", "min", "any", "all"):
        yield _with(node, func=ast.Name(_NAMES[function.id], ast.Load()))
    for i, keyword in enumerate(node.keywords):
        if keyword.arg not in ("dtype", "strict", "dimension_numbers", None):
            yield _with(node, keywords=node.keywords[:i] + node.keywords[i + 1 :])
    if isinstance(function, ast.Attribute) and function.attr in ("astype", "T", "swapaxes"):
        yield function.value
    if isinstance(function, ast.Attribute) and len(node.args) == 1 and not node.keywords:
        yield node.args[0]


def _statement(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.AugAssign):
        for other in _ARITHMETIC.get(type(node.op), ()):
            yield _with(node, op=other())
        yield ast.Assign([node.target], node.value)
        yield ast.Pass()
    if isinstance(node, ast.Raise) or (isinstance(node, ast.Expr) and not _is_text(node)):
        yield ast.Pass()
    if isinstance(node, ast.Attribute) and node.attr == "T":
        yield node.value


_OPERATORS: tuple[Callable[[ast.AST], Iterator[ast.AST]], ...] = (
    _binary,
    _comparison,
    _boolean,
    _constant,
    _condition,
    _call,
    _statement,
)
