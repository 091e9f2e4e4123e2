"""Errors of pydantic as sentences: where, what was given, what is wanted, the nearest key."""

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator.spec.base import LARGEST_COUNT
from orchestrator.spec.tree import Node, PathPart, Plain, Where, descend, dotted, plain
from orchestrator.spec.words import Schema, follow, kinds, properties, target, words

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

# Kinds that are about the key, or the section around it, and not about its value.
_ABOUT_KEYS = {"extra_forbidden", "missing", "spec_problem"}


def explain(error: "ValidationError", tree: Node, root: Schema) -> list[str]:
    """One line for each mistake in a spec, in the order of the file."""
    data = plain(tree)
    found: dict[tuple[tuple[PathPart, ...], str], _Mistake] = {}
    for details in error.errors(include_url=False):
        mistake = _mistake(details, data, root)
        key = mistake.path, mistake.kind if mistake.kind in _ABOUT_KEYS else "value"
        # Each branch of a union reports the same value; only all of them say what is wanted.
        found[key] = replace(mistake, kind="any") if key in found else mistake
    mistakes = [
        mistake
        for mistake in found.values()
        # A list without its wrong items may be too short, which is no mistake of its own.
        if mistake.kind != "too_short" or not _has_inner(mistake, found.values())
    ]
    lines = []
    for mistake in mistakes:
        where = place(tree, mistake.path, key=mistake.kind in _ABOUT_KEYS)
        prefix = f"{where}: {dotted(mistake.path)}: " if mistake.path else f"{where}: "
        lines.append((_order(where), prefix + _text(mistake, tree, root)))
    return [text for _, text in sorted(lines, key=lambda item: item[0])]


def place(tree: Node, path: Sequence[PathPart], *, key: bool = False) -> Where:
    """Where a value stands; for a missing one, where the mapping around it is named."""
    node, complete = descend(tree, path)
    return node.key or node.where if key or not complete else node.where


def shown(tree: Node, path: Sequence[PathPart]) -> str:
    """A value as the user wrote it, short enough for a message."""
    node, complete = descend(tree, path)
    if not complete:
        return "nothing"
    match node.value:
        case dict():
            return "a mapping"
        case list() as items if len(items) > 4 or any(item.size > 1 for item in items):
            return f"a list of {len(items)}"
        case list() as items:
            return "[" + ", ".join(shown(item, ()) for item in items) + "]"
        case value:
            written = value if node.written is None else node.written
            text = json.dumps(written, ensure_ascii=not str(written).isprintable())
            return text if len(text) <= 60 else f"{text[:56]}..."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mistake:
    """An error of pydantic at the path that the user knows."""

    path: tuple[PathPart, ...]
    kind: str
    context: Mapping[str, object]
    schema: Schema
    around: Schema


def _mistake(details: "ErrorDetails", data: Plain, root: Schema) -> _Mistake:
    path, schema, around = follow(details["loc"], data, root)
    context = details.get("ctx", {})
    if context.get("at"):
        parts = str(context["at"]).split(".")
        path = [*path, *(int(part) if part.isdecimal() else part for part in parts)]
    return _Mistake(
        path=tuple(path), kind=details["type"], context=context, schema=schema, around=around
    )


def _has_inner(mistake: _Mistake, others: Iterable[_Mistake]) -> bool:
    depth = len(mistake.path)
    return any(len(other.path) > depth and other.path[:depth] == mistake.path for other in others)


def _text(mistake: _Mistake, tree: Node, root: Schema) -> str:
    path, schema, context = mistake.path, mistake.schema, mistake.context
    value, wanted = shown(tree, path), words(schema, root)
    match mistake.kind:
        case "extra_forbidden":
            return _unknown_key(str(path[-1]), mistake.around, root)
        case "missing":
            return f"missing; wanted {wanted}"
        case "spec_problem":
            return str(context["message"])
        case "value_error":
            message = str(context["error"])
            return f"got {value}, {message}" if message.startswith("wanted ") else message
        case "union_tag_invalid":
            return _wrong_kind(tree, path, schema)
        case "less_than_equal" if context["le"] == LARGEST_COUNT:
            return f"got {value}, wanted {wanted} and at most {LARGEST_COUNT}"
        case "too_short":
            return f"got {value}, wanted at least one item"
        case "string_too_short":
            return f"got {value}, wanted text that is not empty"
        case "string_pattern_mismatch" if "format" not in schema:
            return f"got {value}, wanted text without the character NUL"
    return f"got {value}, wanted {wanted}{_nearest_choice(tree, path, schema)}"


def _unknown_key(name: str, around: Schema, root: Schema) -> str:
    known = list(properties(around))
    deeper = [
        f"{key}.{name}" for key, field in properties(around).items() if _has(field, name, root)
    ]
    question = _nearest(name, known) or (f'; did you mean "{deeper[0]}"?' if deeper else ";")
    return f"unknown key{question} allowed: {', '.join(known)}"


def _has(field: Schema, name: str, root: Schema) -> bool:
    """Whether a section, in any of its kinds, has a field of this name."""
    schema = target(field, root)
    branches = [*_listed(schema, "anyOf"), *kinds(schema).values()]
    return name in properties(schema) or any(_has(branch, name, root) for branch in branches)


def _wrong_kind(tree: Node, path: Sequence[PathPart], schema: Schema) -> str:
    union = next((option for option in _options(schema) if kinds(option)), schema)
    names = sorted(kinds(union))
    node, _ = descend(tree, [*path, "type"])
    return (
        f"got the type {shown(node, ())}, wanted {', '.join(names[:-1])} or {names[-1]}"
        f"{_nearest(node.value, names)}"
    )


def _nearest_choice(tree: Node, path: Sequence[PathPart], schema: Schema) -> str:
    choices = [
        str(choice)
        for option in _options(schema)
        for choice in (*_listed(option, "enum"), option.get("const"))
        if choice is not None
    ]
    return _nearest(descend(tree, path)[0].value, choices)


def _options(schema: Schema) -> list[Schema]:
    return [schema, *_listed(schema, "anyOf")]


def _listed(schema: Schema, key: str) -> "list[Schema]":
    value = schema.get(key)
    return list(value) if isinstance(value, list) else []


def _nearest(value: object, names: Sequence[str]) -> str:
    close = (
        difflib.get_close_matches(value, names, n=1, cutoff=0.7) if isinstance(value, str) else []
    )
    return f'; did you mean "{close[0]}"?' if close else ""


def _order(where: Where) -> tuple[str, int, int]:
    return where.source, where.line, where.column
