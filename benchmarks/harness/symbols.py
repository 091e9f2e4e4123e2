"""Functions by their names, since they travel to other processes as arguments."""

import importlib
from collections.abc import Callable


def find(call: str) -> Callable[..., object]:
    """The function that `module:name` names."""
    module, _, name = call.partition(":")
    found: Callable[..., object] = getattr(importlib.import_module(module), name)
    return found
