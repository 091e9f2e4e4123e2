"""Known secrets, found in texts in all the forms that they take there."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

from orchestrator.redaction.names import reference
from orchestrator.redaction.uris import HIDDEN, redact_uris

if TYPE_CHECKING:
    from pydantic import JsonValue

LEAST = 6
"""Characters of the shortest value that is looked for: a shorter one stands in every number."""


class Redactor:
    """Replaces values of variables by `${env:NAME}`, of files likewise, other secrets by `***`.

    A reader who has the variables then still understands a path that one of them is a part of.
    """

    def __init__(self, variables: Mapping[str, str], credentials: Iterable[str] = ()) -> None:
        stand_ins: dict[str, str] = {}
        for credential in sorted(credentials):
            stand_ins |= dict.fromkeys(_forms(credential), HIDDEN)
        for name, value in sorted(variables.items()):
            stand_ins |= dict.fromkeys(_forms(value), reference(name))
        # A variable's name may hold the value of one, which is then not to be written either.
        self._stand_ins = {
            form: HIDDEN if any(other in stand_in for other in stand_ins) else stand_in
            for form, stand_in in stand_ins.items()
        }
        # The longest first: of two values that begin alike nothing is to be left over.
        longest = sorted(stand_ins, key=lambda form: (-len(form), form))
        self._pattern = re.compile("|".join(map(re.escape, longest))) if longest else None

    def text(self, text: str) -> str:
        """The text without secrets."""
        return redact_uris("".join(stand_in or piece for piece, stand_in in self.pieces(text)))

    def pieces(self, text: str) -> Iterator[tuple[str, str]]:
        """The text in pieces, each with what stands for it; nothing where it may stay."""
        last = 0
        for match in self._pattern.finditer(text) if self._pattern else ():
            yield text[last : match.start()], ""
            yield match[0], self._stand_ins[match[0]]
            last = match.end()
        yield text[last:], ""

    def json(self, value: "JsonValue") -> "JsonValue":
        """The value with all texts in it redacted, keys too."""
        match value:
            case str():
                return self.text(value)
            case dict():
                return {self.text(key): self.json(item) for key, item in value.items()}
            case list():
                return [self.json(item) for item in value]
        return value


def _forms(value: str) -> set[str]:
    """A value as it may stand in a text: plain, line by line, quoted in JSON, Python or a URI."""
    plain = {value, value.strip(), *(line.strip() for line in value.splitlines())}
    quoted = {
        form
        for text in plain
        for form in (
            json.dumps(text)[1:-1],
            json.dumps(text, ensure_ascii=False)[1:-1],
            repr(text)[1:-1],
            quote(text, safe=""),
            quote(text),
            quote_plus(text),
        )
    }
    return {form for form in plain | quoted if len(form) >= LEAST}
