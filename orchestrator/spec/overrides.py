"""Changes to a spec from the command line: `--set training.epochs=3`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from orchestrator.spec.scalars import resolve_scalar
from orchestrator.spec.tree import Node, PathPart, Where, dotted, failure
from orchestrator.spec.yaml_reader import read_yaml

# The key that a bare text stands for, by the name of the section that may be one.
_SHORTHANDS = {"shuffle": "type", "optimizer": "type", "schedule": "type"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """A value for one path of a spec, from the command line."""

    path: tuple[str, ...]
    value: Node


def parse_override(text: str) -> Override:
    """Reads `a.b.0.c=value`; the value is a word of YAML, or a list or mapping in brackets.

    Raises:
        SpecError: There is no path, or the value is not YAML.
    """
    where = Where(source=f"--set {text}")
    name, equals, value = text.partition("=")
    path = tuple(name.strip().split("."))
    if not equals or not all(path):
        raise failure([f'{where}: wanted path=value, such as "training.epochs=3"'])
    return Override(path=path, value=_value(value.strip(), where))


def text_override(name: str, value: str, *, option: str) -> Override:
    """The override of a field by an option of its own, whose value is text as it stands."""
    return Override(
        path=tuple(name.split(".")), value=Node(value=value, where=Where(source=option))
    )


def _value(text: str, where: Where) -> Node:
    if text.startswith(("[", "{", '"', "'")):
        return read_yaml(text, lambda line, column: where)
    # Anything else is one word, so that "*.parquet" or "a: b" need no quotes inside quotes.
    try:
        return Node(value=resolve_scalar(text), where=where)
    except ValueError as error:
        raise failure([f"{where}: {error}"]) from None


def apply_override(tree: Node, override: Override) -> Node:
    """The tree with one value replaced, or added where its path leads nowhere yet.

    Raises:
        SpecError: The path goes through a value that has nothing inside, or beyond a list.
    """
    return _put(tree, override, ())


def _put(node: Node, override: Override, done: tuple[PathPart, ...]) -> Node:
    if len(done) == len(override.path):
        return override.value
    part, where = override.path[len(done)], override.value.where
    match _expanded(node, done).value:
        case dict() as items:
            child = items.get(part, Node(value=None, where=where))
            changed = _put(child, override, (*done, part))
            return replace(node, value={**items, part: replace(changed, key=child.key or where)})
        case list() as items:
            index = _index(part, items, f"{where}: {dotted(done)}")
            changed = _put(items[index], override, (*done, index))
            return replace(node, value=[*items[:index], changed, *items[index + 1 :]])
        case None:
            inner = _put(Node(value=None, where=where), override, (*done, part))
            return replace(node, value={part: replace(inner, key=where)}, where=where)
        case _:
            raise failure([f'{where}: {dotted(done)} is one value; there is no "{part}" inside'])


def _index(part: str, items: Sequence[Node], what: str) -> int:
    if not part.isdecimal() or not part.isascii() or len(part) > 6 or int(part) >= len(items):
        wanted = f"an index from 0 to {len(items) - 1}" if items else "no index, since it is empty"
        raise failure([f'{what} is a list: wanted {wanted}, got "{part}"'])
    return int(part)


def _expanded(node: Node, path: tuple[PathPart, ...]) -> Node:
    """The mapping that a bare text stands for at this path."""
    if not isinstance(node.value, str) or not path:
        return node
    key = "use" if path[:-1] == ("transforms",) else _SHORTHANDS.get(str(path[-1]))
    return replace(node, value={key: node}) if key else node
