"""Credentials inside URIs: `scheme://user:password@host` and `?token=...`."""

import re
from urllib.parse import unquote

from orchestrator.redaction.names import is_secret_name

HIDDEN = "***"

# The second form is for a password with a slash in it, which should have been written as %2F; a
# port with a path behind it looks alike and is none.
_USER = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://"
    r"(?P<user>[^\s/?#\"'<>]+|[^\s/?#\"'<>@:]+:(?!\d{1,5}/)[^\s\"'<>?#@]+)@"
)
_PARAMETER = re.compile(r"(?P<name>[?&;#][\w.%-]+)=(?P<value>[^\s&;#\"'<>)\]]+)")
# What stands for a secret already.
_STAND_INS = re.compile(r"(?:\$\{(?:env:\w+|file:[^}]*)\}|\*\*\*|:)+")
# Here a container stands where other URIs have a user.
_CONTAINERS = frozenset({"abfs", "abfss", "wasb", "wasbs"})


def redact_uris(text: str) -> str:
    """The text with `***` in the place of credentials in URIs."""
    if "://" in text:
        text = _USER.sub(_without_user, text)
    return _PARAMETER.sub(_without_value, text) if "=" in text else text


def credentials_in(text: str) -> frozenset[str]:
    """The credentials in the URIs of a text, as they are written there and as they are meant."""
    found: set[str] = set()
    for match in _USER.finditer(text):
        if not _is_kept(match):
            user, colon, password = match["user"].partition(":")
            found.add(password)
            # A plain word as a user's name is no secret, and may stand anywhere.
            if not colon or not (user.isalpha() and user.islower()):
                found.add(user)
    for match in _PARAMETER.finditer(text):
        if is_secret_name(unquote(match["name"])) and not _STAND_INS.fullmatch(match["value"]):
            found.add(match["value"])
    return frozenset(found | {unquote(value) for value in found})


def _without_user(match: re.Match[str]) -> str:
    return match[0] if _is_kept(match) else f"{match['scheme']}://{HIDDEN}@"


def _is_kept(match: re.Match[str]) -> bool:
    user = match["user"]
    container = match["scheme"].lower() in _CONTAINERS and ":" not in user
    return container or _STAND_INS.fullmatch(user) is not None


def _without_value(match: re.Match[str]) -> str:
    if not is_secret_name(unquote(match["name"])) or _STAND_INS.fullmatch(match["value"]):
        return match[0]
    return f"{match['name']}={HIDDEN}"
