"""What this process must not write, wherever it writes: known once, heeded by every writer.

It belongs to the process as its environment does, so that no writer can be made without it.
"""

import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from orchestrator.redaction.names import is_secret_name
from orchestrator.redaction.redactor import Redactor

if TYPE_CHECKING:
    from pydantic import JsonValue


class _Hidden:
    """The secrets that are known, and what replaces them."""

    def __init__(self) -> None:
        self.changing = threading.Lock()
        self.variables: dict[str, str] = {}
        self.credentials: set[str] = set()
        self.redactor = Redactor({})


_hidden = _Hidden()


def hide(variables: Mapping[str, str], credentials: Iterable[str] = ()) -> None:
    """Keeps the values of variables, and other credentials, out of all that is written from now."""
    with _hidden.changing:
        _hidden.variables |= variables
        _hidden.credentials |= set(credentials)
        _hidden.redactor = Redactor(_hidden.variables, _hidden.credentials)


def hide_environment(environ: Mapping[str, str]) -> None:
    """Keeps the values of those variables out whose names say that they are secrets."""
    hide({name: value for name, value in environ.items() if is_secret_name(name)})


def forget() -> None:
    """Forgets all secrets, as a test does that has made them up."""
    with _hidden.changing:
        _hidden.variables, _hidden.credentials = {}, set()
        _hidden.redactor = Redactor({})


def redact(text: str) -> str:
    """The text without the secrets that this process knows, and without credentials in URIs."""
    return _hidden.redactor.text(text)


def redact_json(value: "JsonValue") -> "JsonValue":
    """The value with all texts in it redacted."""
    return _hidden.redactor.json(value)


def redact_command(arguments: Iterable[str]) -> list[str]:
    """A command line; a setting whose name says that it is a secret keeps its name alone."""
    shown = []
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        secret = equals and is_secret_name(name)
        shown.append(redact(f"{name}=***" if secret else argument))
    return shown
