"""What a module's syntax tree says about the names in it."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

_DEFAULTS = {"default", "default_factory"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Symbol:
    """A name in a file of user code, and the keyword arguments it can be called with.

    `takes_any` is true for `**kwargs`, and wherever only running the code would tell.
    """

    file: Path
    line: int
    kind: Literal["function", "class", "name"]
    parameters: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    takes_any: bool = True


def find_name(tree: ast.Module, name: str, file: Path) -> Symbol | None:
    """Finds a name that the module binds at its top level; None when nothing binds it."""
    bound = bound_names(tree)
    match bound.get(name):
        case ast.FunctionDef() as node:
            symbol = Symbol(file=file, line=node.lineno, kind="function")
            # A decorator may change the signature in ways that only running it would tell.
            return symbol if node.decorator_list else _with_arguments(symbol, node.args)
        case ast.ClassDef() as node:
            symbol = Symbol(file=file, line=node.lineno, kind="class")
            return _with_constructor(symbol, node, bound, frozenset())
        case None if "*" in bound or "__getattr__" in bound:
            # The name may come from there.
            line = bound["*" if "*" in bound else "__getattr__"].lineno
            return Symbol(file=file, line=line, kind="name")
        case None:
            return None
        case node:
            return Symbol(file=file, line=node.lineno, kind="name")


def bound_names(tree: ast.Module) -> dict[str, ast.stmt]:
    """The names bound at a module's top level with the last statement that binds each.

    A star import is listed as `*`.
    """
    return {name: node for node in _statements(tree.body) for name in _names_of(node)}


def _statements(body: Iterable[ast.AST]) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.stmt):
            yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.expr):
            yield from _statements(ast.iter_child_nodes(node))


def _names_of(node: ast.stmt) -> Iterator[str]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.name
        case ast.Import() | ast.ImportFrom():
            for alias in node.names:
                yield alias.asname or alias.name.partition(".")[0]
        case ast.Assign() | ast.AnnAssign() | ast.AugAssign() | ast.For() | ast.With():
            for part in ast.walk(node):
                if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                    yield part.id


def _with_arguments(symbol: Symbol, arguments: ast.arguments, *, skip: int = 0) -> Symbol:
    positional = [*arguments.posonlyargs, *arguments.args]
    required = positional[skip : len(positional) - len(arguments.defaults)]
    keyword_only = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return replace(
        symbol,
        parameters=tuple(arg.arg for arg in [*positional[skip:], *arguments.kwonlyargs]),
        required=tuple(
            arg.arg for arg in [*required, *(arg for arg, value in keyword_only if value is None)]
        ),
        takes_any=arguments.kwarg is not None,
    )


def _with_constructor(
    symbol: Symbol, node: ast.ClassDef, bound: Mapping[str, ast.stmt], seen: frozenset[str]
) -> Symbol:
    methods = {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}
    decorators = [ast.unparse(item).partition("(")[0] for item in node.decorator_list]
    if decorators in (["dataclass"], ["dataclasses.dataclass"]) and not node.bases:
        return _with_fields(symbol, node)
    if decorators or "__new__" in methods or any(item.arg == "metaclass" for item in node.keywords):
        return symbol
    if "__init__" in methods:
        return _with_arguments(symbol, methods["__init__"].args, skip=1)
    match [base for base in node.bases if ast.unparse(base) != "object"]:
        case []:
            return replace(symbol, takes_any=False)
        case [ast.Name(id=base)] if base not in seen:
            parent = bound.get(base)
            if isinstance(parent, ast.ClassDef):
                return _with_constructor(symbol, parent, bound, seen | {base})
    return symbol


def _with_fields(symbol: Symbol, node: ast.ClassDef) -> Symbol:
    if "init=False" in ast.unparse(node.decorator_list[0]):
        return symbol
    parameters, required = [], []
    for item in node.body:
        if not isinstance(item, ast.AnnAssign) or not isinstance(item.target, ast.Name):
            continue
        annotation = ast.unparse(item.annotation)
        options = (
            {option.arg: ast.unparse(option.value) for option in item.value.keywords}
            if isinstance(item.value, ast.Call)
            and ast.unparse(item.value.func) in ("field", "dataclasses.field")
            else None
        )
        skipped = "ClassVar" in annotation or "KW_ONLY" in annotation
        if skipped or (options is not None and options.get("init") == "False"):
            continue
        parameters.append(item.target.id)
        if item.value is None or (options is not None and not options.keys() & _DEFAULTS):
            required.append(item.target.id)
    return replace(symbol, parameters=tuple(parameters), required=tuple(required), takes_any=False)
