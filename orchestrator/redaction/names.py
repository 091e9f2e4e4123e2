"""Which names say that their value is a secret."""

import re

_SECRET = re.compile(
    r"(?:tokens?|secrets?|passwords?|passwd|passphrase|credentials?|authorization|signature"
    r"|(?:(?<![a-z])|api|access|secret|private|account|shared|signing|encryption)keys?(?:id)?"
    r"|(?<![a-z])(?:pass|pwd|pat|sas|sig|dsn|cookie))(?![a-z])"
)
# They say where a secret lies, and not what it is.
_PLACE = re.compile(r"(?:path|file|dir|sock|socket)$")
# The working directory, in every shell's environment.
_NO_SECRETS = frozenset({"pwd", "oldpwd"})
FILE = "file:"
"""What the name of a value begins with that a file holds; its path follows."""


def reference(name: str) -> str:
    """How a spec refers to a variable, or to a file."""
    return f"${{{name}}}" if name.startswith(FILE) else f"${{env:{name}}}"


def is_secret_name(name: str) -> bool:
    """Whether the value of a variable, or of a parameter of a URI, with this name is a secret."""
    if name.startswith(FILE):
        return True
    lower = name.lower()
    if lower in _NO_SECRETS or _PLACE.search(lower):
        return False
    return _SECRET.search(lower) is not None
