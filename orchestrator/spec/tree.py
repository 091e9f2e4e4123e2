"""Values that remember where they were written."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from orchestrator.errors import SpecError

PathPart = str | int
Scalar = str | int | float | bool | None
Plain = Scalar | list["Plain"] | dict[str, "Plain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """A place in a file, or an option of the command line (which has no lines)."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A value of a spec as it was written, and where.

    `key` is the place of its key. `written` is the text before variables were put into it:
    messages show that, since a variable may hold a secret. `size` counts the values inside, and
    `height` the levels of mappings and lists.
    """

    value: "Scalar | list[Node] | dict[str, Node]"
    where: Where
    key: Where | None = None
    written: str | None = None
    size: int = 1
    height: int = 0


def plain(node: Node) -> Plain:
    """The value without its places."""
    match node.value:
        case dict():
            return {key: plain(item) for key, item in node.value.items()}
        case list():
            return [plain(item) for item in node.value]
        case scalar:
            return scalar


def descend(node: Node, path: Sequence[PathPart]) -> tuple[Node, bool]:
    """Follows a path as far as it goes: the last value on it, and whether it is the whole path."""
    for part in path:
        match node.value:
            case dict() if isinstance(part, str) and part in node.value:
                node = node.value[part]
            case list() if isinstance(part, int) and 0 <= part < len(node.value):
                node = node.value[part]
            case _:
                return node, False
    return node, True


def merge(base: Node, over: Node) -> Node:
    """Lays one value over another: mappings merge, everything else replaces.

    A mapping of another `type` replaces too: the options of one optimizer mean nothing to the next.
    """
    below, above = base.value, over.value
    if not isinstance(below, dict) or not isinstance(above, dict):
        return over
    if "type" in below and "type" in above and below["type"].value != above["type"].value:
        return over
    merged = dict(below)
    for key, item in above.items():
        merged[key] = merge(merged[key], item) if key in merged else item
    return replace(over, value=merged)


def dotted(path: Sequence[PathPart]) -> str:
    """A path as people write it: `transforms.0.with.shift`."""
    return ".".join(str(part) for part in path)


def failure(problems: Sequence[str]) -> SpecError:
    """One error for all problems, a line each."""
    if len(problems) == 1:
        return SpecError(problems[0], problems=tuple(problems))
    lines = "".join(f"\n  {problem}" for problem in problems)
    return SpecError(f"{len(problems)} problems in the spec:{lines}", problems=tuple(problems))
