"""JSON Schema in words: what a field takes, and where a path leads."""

import json
from collections.abc import Mapping, Sequence
from typing import cast

from orchestrator.spec.base import LARGEST_COUNT
from orchestrator.spec.tree import PathPart, Plain

Schema = Mapping[str, object]

_FORMATS = {
    "interval": 'an interval such as "100 steps", "2 epochs" or "10m"',
    "step-interval": 'an interval such as "100 steps" or "2 epochs"',
    "duration-text": 'a duration such as "30s" or "1h30m"',
    "byte-size": 'a size such as "64MiB" or "1GB"',
    "requirement": 'an exact pin such as "einops==0.8.1", or a requirements file ending in .txt',
    "reference": 'a reference such as "package.module:attribute"',
    "job-name": "a name of 1 to 63 letters, digits, dots, underscores and hyphens "
    "that starts with a letter or a digit",
    "error-budget": 'a whole number of rows from 0 on, or per cent such as "0.5%"',
    "elastic-range": "a whole number greater than 0, or {min: n, max: m} with 1 <= n <= m",
    "worker-range": "a whole number greater than 0, or [min, max]",
}
_ANYTHING = "plain data"
_BOUNDS = (
    ("exclusiveMinimum", "greater than"),
    ("minimum", "of at least"),
    ("exclusiveMaximum", "less than"),
    ("maximum", "at most"),
)


def words(schema: Schema, root: Schema) -> str:
    """What a value of this schema may be, as half a sentence."""
    schema = target(schema, root)
    if "oneOf" in schema:
        return "a mapping whose type is " + _choice(sorted(kinds(schema)))
    if "anyOf" in schema:
        return _any_of(cast("Sequence[Schema]", schema["anyOf"]), root)
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return _choice(cast("Sequence[str]", schema["enum"]))
    if (name := str(schema.get("format"))) in _FORMATS:
        return _FORMATS[name]
    match schema.get("type"):
        case "integer":
            return "a whole number" + _bounds(schema)
        case "number":
            return "a number" + _bounds(schema)
        case "boolean":
            return "true or false"
        case "string":
            return "text"
        case "null":
            return "null"
        case "array":
            return _array(schema, root)
        case "object" if "properties" in schema:
            return "a mapping with the keys " + ", ".join(properties(schema))
        case "object":
            inner = words(value_schema(schema), root)
            return "a mapping" + (f", each value {inner}" if inner != _ANYTHING else "")
    return _ANYTHING


def target(schema: Schema, root: Schema) -> Schema:
    """The schema itself, or the one that it refers to."""
    while "$ref" in schema:
        name = cast("str", schema["$ref"]).rpartition("/")[2]
        schema = cast("Mapping[str, Schema]", root["$defs"])[name]
    return schema


def properties(schema: Schema) -> Mapping[str, Schema]:
    """The fields of a mapping."""
    return cast("Mapping[str, Schema]", schema.get("properties", {}))


def value_schema(schema: Schema) -> Schema:
    """What stands under a key of a mapping whose keys are the user's own."""
    inner = schema.get("additionalProperties")
    return cast("Schema", inner) if isinstance(inner, dict) else {}


def kinds(schema: Schema) -> Mapping[str, Schema]:
    """The branches of a union on `type`, by that type."""
    discriminator = cast("Mapping[str, Mapping[str, str]]", schema.get("discriminator", {}))
    return {kind: {"$ref": ref} for kind, ref in discriminator.get("mapping", {}).items()}


def follow(
    location: Sequence[PathPart], data: Plain, root: Schema
) -> tuple[list[PathPart], Schema, Schema]:
    """Turns the location of a pydantic error into the path that a user knows.

    Locations name the branch of each union on the way; paths do not. Returns the path, the
    schema there, and the schema of the mapping or list around it.
    """
    path: list[PathPart] = []
    schema = around = root
    for part in location:
        schema = _branch(target(schema, root), data, root)
        if kinds(schema):
            # This part of the location is the name of the branch.
            schema = kinds(schema).get(str(part), schema)
            continue
        inner = _child(schema, part)
        if inner is None:
            break
        path.append(part)
        schema, around = inner, schema
        data = _item(data, part)
    return path, target(schema, root), around


def _branch(schema: Schema, data: Plain, root: Schema) -> Schema:
    """The branch of a union that data of this shape means."""
    wanted = "object" if isinstance(data, dict) else "array" if isinstance(data, list) else None
    for option in cast("Sequence[Schema]", schema.get("anyOf", ())):
        found = target(option, root)
        if wanted and (found.get("type") == wanted or (kinds(found) and wanted == "object")):
            return found
    return schema


def _child(schema: Schema, part: PathPart) -> Schema | None:
    if isinstance(part, int):
        first = cast("Sequence[Schema]", schema.get("prefixItems", ()))
        if part < len(first):
            return first[part]
        return cast("Schema", schema["items"]) if "items" in schema else None
    if schema.get("type") != "object":
        return None
    return properties(schema).get(part, value_schema(schema))


def _item(data: Plain, part: PathPart) -> Plain:
    if isinstance(data, dict) and isinstance(part, str):
        return data.get(part)
    if isinstance(data, list) and isinstance(part, int) and part < len(data):
        return data[part]
    return None


def _any_of(options: Sequence[Schema], root: Schema) -> str:
    texts = dict.fromkeys(words(option, root) for option in options)
    return ", or ".join(texts)


def _choice(options: Sequence[str]) -> str:
    quoted = [json.dumps(option) for option in options]
    return ", ".join(quoted[:-1]) + " or " + quoted[-1] if len(quoted) > 1 else quoted[0]


def _bounds(schema: Schema) -> str:
    parts = [
        f"{text} {schema[key]}"
        for key, text in _BOUNDS
        # A bound that only guards against overflow says nothing to a reader.
        if key in schema and schema[key] != LARGEST_COUNT
    ]
    return " " + " and ".join(parts) if parts else ""


def _array(schema: Schema, root: Schema) -> str:
    if "prefixItems" in schema:
        items = cast("Sequence[Schema]", schema["prefixItems"])
        return f"a list of {len(items)}, each {words(items[0], root)}"
    # "null" and other alternatives stand outside of the list.
    return f"a list, each item {words(cast('Schema', schema.get('items', {})), root)}"
