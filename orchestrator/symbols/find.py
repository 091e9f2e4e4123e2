"""Finding user code by reading files, without importing any of it."""

import ast
import difflib
import hashlib
import os
import site
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from importlib.machinery import PathFinder
from pathlib import Path

from orchestrator.errors import SpecError
from orchestrator.symbols.reference import check_reference
from orchestrator.symbols.syntax import Symbol, bound_names, find_name


def find_symbol(reference: str, root: Path) -> Symbol:
    """Finds what a reference names, looking in `root` first, then among installed packages.

    Raises:
        SpecError: The reference is malformed, or its module or attribute does not exist.
    """
    file = find_module(reference, root)
    tree = _parse(file, reference)
    name = reference.partition(":")[2]
    symbol = find_name(tree, name, file)
    if symbol is None:
        raise SpecError(f'{reference}: {file} has no "{name}"{nearest(name, bound_names(tree))}')
    return symbol


def symbol_fingerprint(reference: str, root: Path) -> str:
    """SHA-256 of the referenced module's code; comments, docstrings and layout do not count.

    Raises:
        SpecError: The module cannot be found or parsed.
    """
    tree = _parse(find_module(reference, root), reference)
    for node in ast.walk(tree):
        if isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ) and (ast.get_docstring(node, clean=False) is not None):
            del node.body[0]
    # As source text again: how a tree is dumped differs from one Python to the next.
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()


def find_module(reference: str, root: Path) -> Path:
    """The source file of a reference's module: in `root`, or in an installed package.

    Raises:
        SpecError: The reference is malformed, or there is no such file in either.
    """
    try:
        check_reference(reference)
    except ValueError as error:
        raise SpecError(f"{reference}: {error}") from None
    parts = reference.partition(":")[0].split(".")
    places: Sequence[str] = [str(root), *installed_places()]
    origin: str | None = None
    for depth, part in enumerate(parts):
        # The last part alone: with a dotted name, namespace packages would ask for their parents
        # in sys.modules, and those must not be imported here.
        found = PathFinder.find_spec(part, places)
        if found is None:
            raise SpecError(_missing_module(reference, ".".join(parts[: depth + 1]), places))
        origin = found.origin
        places = list(found.submodule_search_locations or ())
        _check_inside(reference, root, [*places, *([] if origin is None else [origin])])
        if depth < len(parts) - 1 and not places:
            raise SpecError(f"{reference}: {origin} is a module, not a package with modules in it")
    if origin is None or not origin.endswith(".py") or root.is_file():
        raise SpecError(f"{reference}: {origin or places[0]} is no Python source file")
    return Path(origin)


def installed_places() -> list[str]:
    """Where packages are installed; a folder that only a variable or a process adds is none."""
    places = [*site.getsitepackages(), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    if site.ENABLE_USER_SITE:
        places.append(site.getusersitepackages())
    return list(dict.fromkeys(places))


def imported_from(module: str) -> Path | None:
    """The file that an import of a module would run now; nothing is imported to find it."""
    places: Sequence[str] = sys.path
    origin = None
    for part in module.split("."):
        found = PathFinder.find_spec(part, places)
        if found is None:
            return None
        origin, places = found.origin, list(found.submodule_search_locations or ())
    return None if origin is None else Path(origin)


def _check_inside(reference: str, root: Path, paths: Iterable[str]) -> None:
    """Refuses what only a link brings into the folder of the user's code."""
    real = Path(os.path.realpath(root))
    allowed = [real, *(Path(os.path.realpath(place)) for place in installed_places())]
    for path in paths:
        target = Path(os.path.realpath(path))
        if not any(target.is_relative_to(place) for place in allowed):
            raise SpecError(
                f"{reference}: {path} leads to {target}, outside of runtime.working_dir and of the"
                " installed packages"
            )


def nearest(name: str, known: Iterable[str]) -> str:
    """A question that offers the known name nearest to a wrong one, or nothing."""
    close = difflib.get_close_matches(name, [item for item in known if item.isidentifier()], n=1)
    return f'; did you mean "{close[0]}"?' if close else ""


def _missing_module(reference: str, module: str, places: Sequence[str]) -> str:
    name = module.rpartition(".")[2]
    folder = Path(places[0])
    # Unlike Path.is_dir, no error where the path cannot even be one.
    is_folder = os.path.isdir(folder)  # noqa: PTH112
    siblings = (
        [item.stem for item in sorted(folder.iterdir()) if item.is_dir() or item.suffix == ".py"]
        if is_folder
        else []
    )
    absent = "" if is_folder else ", which is no folder,"
    elsewhere = " and among the installed packages" if "." not in module else ""
    return (
        f'{reference}: no module "{module}": looked for {name}.py and {name}/__init__.py '
        f"in {folder}{absent}{elsewhere}{nearest(name, siblings)}"
    )


def _parse(file: Path, reference: str) -> ast.Module:
    try:
        return ast.parse(file.read_bytes(), filename=str(file))
    except SyntaxError as error:
        raise SpecError(
            f"{reference}: {file}:{error.lineno or 1}: not valid Python: {error.msg}"
        ) from None
    except ValueError as error:
        raise SpecError(f"{reference}: {file}: not valid Python: {error}") from None
    except OSError as error:
        raise SpecError(f"{reference}: {file}: cannot be read: {error.strerror}") from None
