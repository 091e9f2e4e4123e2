"""Functions by their names, since they travel to other processes as arguments."""

import importlib


def find(call: str) -> object:
    """What `module:name` names."""
    module, _, name = call.partition(":")
    found: object = getattr(importlib.import_module(module), name)
    return found
