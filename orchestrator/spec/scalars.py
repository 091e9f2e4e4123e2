"""What an unquoted word of YAML 1.2 means."""

import math
import re

from orchestrator.spec.tree import Scalar

_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
# Converting digits takes time that grows with the square of their number.
_MAX_DIGITS = 400


def resolve_scalar(text: str) -> Scalar:
    """The value of an unquoted word: null, a boolean, a number, or else the text itself.

    Raises:
        ValueError: It is a number that no field could hold.
    """
    if text in _WORDS:
        return _WORDS[text]
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"wanted a finite number, got {text}")
    if _INTEGER.fullmatch(text):
        if len(text) > _MAX_DIGITS:
            raise ValueError(f"a number of more than {_MAX_DIGITS} digits")
        prefix = text[:2]
        return int(text[2:], {"0o": 8, "0x": 16}[prefix]) if prefix in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text):
        if not math.isfinite(number := float(text)):
            raise ValueError(f"wanted a finite number, got {text[:40]}")
        return number
    return text
