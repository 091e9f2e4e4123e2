"""The order fingerprint: everything that decides which rows are in which batch, and how they look."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Fingerprint:
    """Named parts, so that a difference can be named, and one digest over them."""

    parts: Mapping[str, str]

    @property
    def digest(self) -> str:
        text = json.dumps(dict(self.parts), sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()


def differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """One line for each part that differs, fit to be shown."""
    lines = []
    for name in sorted(old.keys() | new.keys()):
        was, now = old.get(name), new.get(name)
        if was == now:
            continue
        if was is None:
            lines.append(f"{name} is new")
        elif now is None:
            lines.append(f"{name} is gone")
        else:
            lines.append(f"{name} was {_short(was)}, is now {_short(now)}")
    return lines


def _short(value: str) -> str:
    return value if len(value) <= 40 else value[:12] + "..."
