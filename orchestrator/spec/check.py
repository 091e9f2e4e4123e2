"""Whether the user code that a spec names exists and takes what it is given."""

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from orchestrator.errors import SpecError
from orchestrator.spec.job import JobSpec
from orchestrator.spec.tree import PathPart, dotted, failure
from orchestrator.symbols import Symbol, find_symbol

# The orchestrator gives a transform its random generator under this name.
_GIVEN = "rng"

Field = Literal["use", "task", "loop"]
Locate = Callable[[Sequence[PathPart]], object]


def check_symbols(spec: JobSpec, root: Path, *, locate: Locate | None = None) -> None:
    """Checks all references by reading files; nothing is imported.

    Args:
        spec: The job.
        root: Folder of the user's code.
        locate: Names the place of a path in the spec, for the messages.

    Raises:
        SpecError: Code is missing, or takes other arguments; `problems` has a line for each.
    """
    found: list[tuple[tuple[PathPart, ...], str]] = []
    training = spec.training
    for index, transform in enumerate(spec.transforms):
        found += _check(transform.use, transform.with_, root, ("transforms", index), "use")
    if training.task is not None:
        found += _check(training.task, training.with_, root, ("training",), "task")
    if training.loop is not None:
        found += _check(training.loop, training.with_, root, ("training",), "loop")
    if found:
        raise failure(
            [
                f"{locate(path)}: {dotted(path)}: {text}" if locate else f"{dotted(path)}: {text}"
                for path, text in found
            ]
        )


def _check(
    reference: str,
    given: Mapping[str, object],
    root: Path,
    path: tuple[PathPart, ...],
    field: Field,
) -> list[tuple[tuple[PathPart, ...], str]]:
    try:
        symbol = find_symbol(reference, root)
    except SpecError as error:
        return [((*path, field), str(error))]
    if (message := _wrong_kind(symbol, field)) is not None:
        return [((*path, field), f"{reference} ({_place(symbol)}) {message}")]
    return [
        *(((*path, "with", key), text) for key, text in _unknown(reference, symbol, given, field)),
        *(((*path, "with"), text) for text in _missing(reference, symbol, given, field)),
    ]


def _wrong_kind(symbol: Symbol, field: Field) -> str | None:
    match field, symbol.kind:
        case "task", "function":
            return "is a function, wanted a class of TrainTask; training.loop takes a function"
        case "loop", "class":
            return "is a class, wanted a function; training.task takes a class of TrainTask"
        case "loop", "function" if not symbol.parameters and not symbol.takes_any:
            return "takes no argument, wanted one for the context: def train(context)"
    return None


def _unknown(
    reference: str, symbol: Symbol, given: Iterable[str], field: Field
) -> Iterable[tuple[str, str]]:
    taken = _arguments(symbol, field)
    for key in given:
        if field == "use" and symbol.kind == "function" and key == _GIVEN:
            yield key, f"the orchestrator itself gives {_GIVEN} to a transform"
        elif symbol.kind != "name" and not symbol.takes_any and key not in taken:
            close = difflib.get_close_matches(key, taken, n=1)
            question = f'; did you mean "{close[0]}"?' if close else ""
            takes = f"it takes {', '.join(taken)}" if taken else "it takes no arguments"
            yield key, f"{reference} ({_place(symbol)}) does not take it{question or ';'} {takes}"


def _missing(
    reference: str, symbol: Symbol, given: Mapping[str, object], field: Field
) -> Iterable[str]:
    for name in _arguments(symbol, field, required=True):
        if name not in given:
            yield f'missing "{name}", which {reference} ({_place(symbol)}) needs'


def _arguments(symbol: Symbol, field: Field, *, required: bool = False) -> list[str]:
    """The arguments that `with` can give; ours are the first of a function, and the generator."""
    names = symbol.required if required else symbol.parameters
    if symbol.kind == "function":
        ours = {*symbol.parameters[:1], *([_GIVEN] if field == "use" else [])}
        return [name for name in names if name not in ours]
    return list(names)


def _place(symbol: Symbol) -> str:
    return f"{symbol.file}:{symbol.line}"
