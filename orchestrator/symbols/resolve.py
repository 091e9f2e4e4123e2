"""Importing user code."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

from orchestrator.errors import SpecError
from orchestrator.symbols.find import find_module, imported_from, nearest
from orchestrator.symbols.frames import user_trace


def resolve_symbol(reference: str, root: Path) -> object:
    """Imports what a reference names; `root` comes first on `sys.path` from then on.

    Raises:
        SpecError: It does not exist, its import fails, or another file has taken its name.
    """
    file = find_module(reference, root)
    module_name, _, name = reference.partition(":")
    if sys.path[:1] != [str(root)]:
        sys.path.insert(0, str(root))
    first = imported_from(module_name)
    if module_name not in sys.modules and first is not None and not first.samefile(file):
        raise SpecError(
            f"{reference}: {first} comes first where Python looks, and {file} was meant",
            hint="it lies in a folder of PYTHONPATH or of sys.path; take that away, or rename one",
        )
    module = _import(reference, module_name, root)
    loaded = getattr(module, "__file__", None)
    if loaded is None or not Path(loaded).samefile(file):
        raise SpecError(
            f"{reference}: {loaded} is already imported under this name, so that {file} cannot be",
            hint="rename one of the two modules, or use a new process",
        )
    try:
        return getattr(module, name)
    except AttributeError:
        raise SpecError(
            f'{reference}: {file} has no "{name}"{nearest(name, dir(module))}'
        ) from None


def _import(reference: str, module_name: str, root: Path) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        where = user_trace(error, root)
        raise SpecError(f"{reference}: importing it failed: {text}{where}") from error
