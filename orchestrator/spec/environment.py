"""Variables of the environment inside texts: `${env:NAME}`."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from orchestrator.spec.tree import Node

# `$${` stands for a plain `${`; what looks like a variable and is none is a mistake.
_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)\}?")
_VARIABLE = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")


class Unfilled(Mapping[str, str]):
    """An environment that leaves each variable as it is written, for who wants no value of one."""

    def __getitem__(self, name: str) -> str:
        return f"${{env:{name}}}"

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __contains__(self, name: object) -> bool:
        return True


def interpolate(node: Node, environ: Mapping[str, str]) -> tuple[Node, list[str]]:
    """Puts variables into all texts, once; returns the new tree and a line for each mistake."""
    problems: list[str] = []
    return _interpolate(node, environ, problems), problems


def names_in(text: str) -> Iterator[str]:
    """The names of the variables in a text, as it was written."""
    for match in _REFERENCE.finditer(text):
        if match[1] is not None and (variable := _VARIABLE.fullmatch(match[1])):
            yield variable[1]


def escape(text: str) -> str:
    """The text that `interpolate` turns into this one."""
    return text.replace("${", "$${")


def _interpolate(node: Node, environ: Mapping[str, str], problems: list[str]) -> Node:
    match node.value:
        case dict() as items:
            value = {key: _interpolate(item, environ, problems) for key, item in items.items()}
            return replace(node, value=value)
        case list() as items:
            return replace(node, value=[_interpolate(item, environ, problems) for item in items])
        case str() as text if "${" in text:
            return _filled(node, text, environ, problems)
    return node


def _filled(node: Node, text: str, environ: Mapping[str, str], problems: list[str]) -> Node:
    def value_of(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        variable = _VARIABLE.fullmatch(match[1]) if match[0].endswith("}") else None
        if variable is None:
            shown = match[0][:60]
            problems.append(
                f'{node.where}: "{shown}" is no variable; write "${{env:NAME}}" for one, '
                'or "$${" for the characters "${"'
            )
        elif variable[1] not in environ:
            problems.append(f"{node.where}: the environment variable {variable[1]} is not set")
        else:
            return environ[variable[1]]
        return ""

    return replace(node, value=_REFERENCE.sub(value_of, text), written=text)
