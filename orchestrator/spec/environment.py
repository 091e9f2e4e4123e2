"""What texts of a spec take from outside: `${env:NAME}`, or what a file says: `${file:PATH}`."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from orchestrator.redaction.names import FILE, reference
from orchestrator.spec.tree import Node

# `$${` stands for a plain `${`; what looks like a variable and is none is a mistake.
_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)\}?")
_VARIABLE = re.compile(r"env:(?P<variable>[A-Za-z_][A-Za-z0-9_]*)|(?P<file>file:/[^}\x00]+)")
# A secret is short; whatever is longer was named by mistake.
_LARGEST_FILE = 1 << 16


class Unfilled(Mapping[str, str]):
    """An environment that leaves each variable as it is written, for who wants no value of one."""

    def __getitem__(self, name: str) -> str:
        return reference(name)

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
    """The names of the variables in a text, as it was written; of a file, "file:" and its path."""
    for match in _REFERENCE.finditer(text):
        if match[1] is not None and (variable := _VARIABLE.fullmatch(match[1])):
            yield variable["variable"] or variable["file"]


def value_of(name: str, environ: Mapping[str, str]) -> str:
    """What a variable, or a file, stands for; the end of a file's last line is none of it.

    Raises:
        KeyError: There is no such variable.
        ValueError: The file cannot be used, and why.
    """
    if not name.startswith(FILE) or isinstance(environ, Unfilled):
        return environ[name]
    path = Path(name.removeprefix(FILE))
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
        if len(content) > _LARGEST_FILE:
            raise ValueError(f"{path} is larger than 64KiB, wanted a file with one secret")
        value = content.decode("utf-8").rstrip("\r\n")
    except OSError as error:
        raise ValueError(
            f"{path} cannot be read: {error.strerror}; it has to be there wherever the spec is read"
        ) from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text in UTF-8") from None
    if not value or "\0" in value:
        raise ValueError(f"{path} is empty" if not value else f"{path} is no text")
    return value


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
    def filled(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        variable = _VARIABLE.fullmatch(match[1]) if match[0].endswith("}") else None
        if variable is None:
            shown = match[0][:60]
            problems.append(
                f'{node.where}: "{shown}" is no variable; write "${{env:NAME}}" for one, '
                '"${file:/PATH}" for what a file says, or "$${" for the characters "${"'
            )
            return ""
        name = variable["variable"] or variable["file"]
        try:
            return value_of(name, environ)
        except KeyError:
            problems.append(f"{node.where}: the environment variable {name} is not set")
        except ValueError as error:
            problems.append(f"{node.where}: {error}")
        return ""

    return replace(node, value=_REFERENCE.sub(filled, text), written=text)
