"""JSON-lines files that one process appends to while another one reads."""

import json
import math
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self, TypeAlias

from orchestrator.redaction.process import redact_json

if TYPE_CHECKING:
    from pydantic import JsonValue

JsonObject: TypeAlias = "dict[str, JsonValue]"


class JsonLinesTail:
    """The objects added to a file since the last look at it; the file need not exist yet.

    Attributes:
        torn: how many complete lines so far were no JSON object, as a killed writer leaves them.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self.torn = 0

    def new(self) -> list[JsonObject]:
        """Returns the objects of the lines completed since the last call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                added = file.read()
        except FileNotFoundError:
            return []
        # A line without its end is still being written: it is read again next time.
        complete = added[: added.rfind(b"\n") + 1]
        self._position += len(complete)
        objects, torn = _parse(complete)
        self.torn += torn
        return objects


def read_json_lines(path: Path, *, last_bytes: int | None = None) -> list[JsonObject]:
    """Returns every object in a file, none where it does not exist; torn lines are left out.

    Unlike `JsonLinesTail` this takes a last line without its end if it is a whole object, which
    no beginning of an object is.

    Args:
        last_bytes: how much of the end of a long file to read; by default all of it.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = 0 if last_bytes is None else max(0, size - last_bytes)
            file.seek(start)
            content = file.read()
    except FileNotFoundError:
        return []
    # A beginning in the middle of a line could read as an object of its own ("{}}").
    return _parse(content[content.find(b"\n") + 1 :] if start else content)[0]


class JsonLinesWriter:
    """Appends one object a line, each handed to the operating system before `write` returns.

    Several threads may write to it.

    Numbers that JSON cannot express are written as the strings "NaN", "Infinity" and
    "-Infinity", so that every line is JSON for every reader. Secrets are taken out.
    """

    def __init__(self, path: Path) -> None:
        # Unbuffered and in append mode: one line is one write, whole or (when killed) torn.
        self._file: BinaryIO = path.open("ab", buffering=0)
        self._starts_fresh = _ends_with_newline(path)
        self._lock = threading.Lock()

    def write(self, line: Mapping[str, "JsonValue"]) -> None:
        """Appends one object, on a line of its own whatever a killed writer has left."""
        text = json.dumps(finite(redact_json(dict(line))), allow_nan=False, separators=(",", ":"))
        with self._lock:
            pending = (b"" if self._starts_fresh else b"\n") + text.encode("ascii") + b"\n"
            # Stays false when a write fails half-way (a full disk), so that the next one recovers.
            self._starts_fresh = False
            while pending:
                pending = pending[self._file.write(pending) :]
            self._starts_fresh = True

    def close(self) -> None:
        """Closes the file; closing it again does nothing."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def finite(value: "JsonValue") -> "JsonValue":
    """Returns a value that JSON can express, its other numbers as "NaN" or "(-)Infinity"."""
    match value:
        case float() if math.isnan(value):
            return "NaN"
        case float() if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        case dict():
            return {key: finite(item) for key, item in value.items()}
        case list():
            return [finite(item) for item in value]
        case _:
            return value


def _parse(content: bytes) -> tuple[list[JsonObject], int]:
    """Returns the objects in the lines of `content`, and how many lines were no object."""
    objects: list[JsonObject] = []
    torn = 0
    for line in content.split(b"\n"):
        if not line.strip():
            continue
        try:
            # Decoded here, because json.loads takes bytes with zeros in them for UTF-16.
            value = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError):
            torn += 1
            continue
        if isinstance(value, dict):
            objects.append(value)
        else:
            torn += 1
    return objects, torn


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
