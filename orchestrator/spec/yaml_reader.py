"""YAML text as a tree of placed values; whatever is not plain data is refused."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Never, Protocol

import yaml

from orchestrator.spec.scalars import resolve_scalar
from orchestrator.spec.tree import Node, Scalar, Where, failure

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 32
MAX_VALUES = 20_000

_UNPRINTABLE = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
# The parser in C is ten times as fast; wheels have it, some builds from source do not.
_LOADER: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml_file(path: Path) -> Node:
    """Reads one YAML document from a file.

    Raises:
        SpecError: It cannot be read, or is not plain data; the message says where.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise failure([f"{path}: cannot be read: {error.strerror}"]) from None
    except ValueError as error:
        raise failure([f"{str(path)!r}: cannot be read: {error}"]) from None
    if len(content) > MAX_BYTES:
        raise failure([f"{path}: larger than {MAX_BYTES // 1024}KiB, the most a spec may have"])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - (content.rfind(b"\n", 0, error.start) + 1) + 1
        raise failure([f"{path}:{line}:{column}: not valid UTF-8"]) from None
    return read_yaml(text, lambda line, column: Where(source=str(path), line=line, column=column))


def read_yaml(text: str, place: Callable[[int, int], Where]) -> Node:
    """Reads one YAML document; `place` names a line and a column, both counted from 1.

    Raises:
        SpecError: The text is not one document of plain data.
    """
    if (match := _UNPRINTABLE.search(text)) is not None:
        line, start = text.count("\n", 0, match.start()) + 1, text.rfind("\n", 0, match.start())
        where = place(line, match.start() - start)
        raise failure([f"{where}: the character U+{ord(match[0]):04X} is not allowed"])
    builder = _Builder(place)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        raise failure([_syntax_problem(error, text, builder)]) from None
    except yaml.YAMLError as error:
        raise failure([f"{place(1, 1)}: not valid YAML: {error}"]) from None
    if builder.result is None:
        return Node(value=None, where=place(1, 1))
    return builder.result


def _syntax_problem(error: yaml.MarkedYAMLError, text: str, builder: "_Builder") -> str:
    mark = error.problem_mark or error.context_mark
    where = builder.where(mark)
    context = f" {error.context}" if error.context else ""
    if context and error.context_mark is not None and error.context_mark is not mark:
        context += f" that starts on line {error.context_mark.line + 1}"
    lines = text.splitlines()
    rest = lines[mark.line][mark.column :] if mark is not None and mark.line < len(lines) else ""
    advice = ""
    if rest.startswith("\t"):
        advice = "; indent with spaces, not with tabs"
    elif rest[:1] in ("@", "`", "%") or "alias" in context or "anchor" in context:
        advice = "; put text that starts with a special character in quotes"
    return f"{where}: not valid YAML: {error.problem}{context}{advice}"


class _Mark(Protocol):
    line: int
    column: int


@dataclass(slots=True)
class _Open:
    """A mapping or a list whose end has not come yet."""

    items: dict[str, Node] | list[Node]
    where: Where
    anchor: str | None
    key: Node | None = None
    size: int = 1
    height: int = 1


@dataclass(slots=True)
class _Builder:
    """Builds the tree from parser events without recursion, so that no depth can hurt."""

    place: Callable[[int, int], Where]
    result: Node | None = None
    stack: list[_Open] = field(default_factory=list)
    anchors: dict[str, Node | None] = field(default_factory=dict)
    num_values: int = 0

    def where(self, mark: _Mark | None) -> Where:
        return self.place(1, 1) if mark is None else self.place(mark.line + 1, mark.column + 1)

    def take(self, event: yaml.Event) -> None:
        match event:
            case yaml.DocumentStartEvent() if self.result is not None:
                self.refuse(
                    event,
                    "a second document starts here, and a spec is one document",
                )
            case yaml.AliasEvent():
                self.alias(event)
            case yaml.ScalarEvent():
                self.check(event)
                node = Node(value=self.scalar(event), where=self.where(event.start_mark))
                self.add(event, node, event.anchor, plain=event.implicit[0])
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self.check(event)
                if len(self.stack) == MAX_DEPTH:
                    self.refuse(event, f"nested deeper than {MAX_DEPTH} levels")
                items: dict[str, Node] | list[Node] = (
                    {} if isinstance(event, yaml.MappingStartEvent) else []
                )
                self.stack.append(_Open(items, self.where(event.start_mark), event.anchor))
                if event.anchor is not None:
                    self.anchors[event.anchor] = None
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                done = self.stack.pop()
                node = Node(value=done.items, where=done.where, size=done.size, height=done.height)
                self.add(event, node, done.anchor)

    def alias(self, event: yaml.AliasEvent) -> None:
        if event.anchor not in self.anchors:
            self.refuse(event, f'no "&{event.anchor}" before "*{event.anchor}"')
        target = self.anchors[event.anchor]
        if target is None:
            self.refuse(event, f'"*{event.anchor}" stands inside "&{event.anchor}"')
        self.add(event, target, None)

    def scalar(self, event: yaml.ScalarEvent) -> Scalar:
        if _SURROGATE.search(event.value):
            self.refuse(event, "half a surrogate pair is no character")
        if not event.implicit[0]:
            return event.value
        try:
            return resolve_scalar(event.value)
        except ValueError as error:
            self.refuse(event, str(error))

    def check(self, event: yaml.NodeEvent) -> None:
        tag = getattr(event, "tag", None)
        if tag is not None:
            name = str(tag).replace("tag:yaml.org,2002:", "!!")[:60]
            self.refuse(event, f'the tag "{name}" is not allowed; a spec is plain data')

    def add(
        self, event: yaml.Event, node: Node, anchor: str | None, *, plain: bool = False
    ) -> None:
        self.num_values += node.size
        if self.num_values > MAX_VALUES:
            self.refuse(
                event,
                f"more than {MAX_VALUES} values, each use of an alias counted",
            )
        if len(self.stack) + node.height > MAX_DEPTH:
            self.refuse(event, f"nested deeper than {MAX_DEPTH} levels, by way of aliases")
        if anchor is not None:
            self.anchors[anchor] = node
        if not self.stack:
            self.result = node
            return
        top = self.stack[-1]
        top.size += node.size
        top.height = max(top.height, node.height + 1)
        if isinstance(top.items, list):
            top.items.append(node)
        elif top.key is None:
            top.key = self.key(node, top.items, plain=plain)
        else:
            top.items[str(top.key.value)] = replace(node, key=top.key.where)
            top.key = None

    def key(self, node: Node, seen: dict[str, Node], *, plain: bool) -> Node:
        if isinstance(node.value, dict | list):
            self.refuse_at(node.where, "wanted a text as the key, got a mapping or a list")
        if not isinstance(node.value, str):
            self.refuse_at(node.where, "wanted a text as the key; put it in quotes")
        if plain and node.value == "<<":
            self.refuse_at(node.where, 'merging with "<<" is not supported; use extends')
        if node.value in seen:
            before = seen[node.value].key
            self.refuse_at(node.where, f'the key "{node.value[:60]}" was given before, at {before}')
        return node

    def refuse(self, event: yaml.Event, message: str) -> Never:
        self.refuse_at(self.where(event.start_mark), message)

    def refuse_at(self, where: Where, message: str) -> Never:
        raise failure([f"{where}: {message}"])
