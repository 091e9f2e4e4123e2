"""The user's own training loop: found, called, and held to the plan's last step."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path

from orchestrator.errors import SpecError
from orchestrator.spec.training import TrainingSpec
from orchestrator.symbols import resolve_symbol
from orchestrator.train.bookkeeping import Bookkeeping
from orchestrator.train.context import TrainContext
from orchestrator.train.user_code import MisuseError, user_code
from orchestrator.train.user_task import GuardedTask, load_task

Loop = Callable[..., object]


def load_training(spec: TrainingSpec, root: Path) -> GuardedTask | Loop:
    """The task of a spec, constructed, or its loop.

    Raises:
        SpecError: it is neither, is not complete, or does not take the spec's `with`.
    """
    if spec.task is not None:
        return load_task(spec.task, spec.with_, root)
    assert spec.loop is not None  # a spec without both is refused
    return load_loop(spec.loop, spec.with_, root)


def load_loop(reference: str, arguments: Mapping[str, object], root: Path) -> Loop:
    """The function of a spec.

    Raises:
        SpecError: it is no function, or does not take a context and the spec's `with`.
    """
    loop = resolve_symbol(reference, root)
    if not callable(loop) or inspect.isclass(loop):
        raise SpecError(f"training.loop: {reference} is no function")
    try:
        inspect.signature(loop).bind(None, **arguments)
    except TypeError as error:
        raise SpecError(
            f"training.loop: {reference} cannot be called with a context and training.with: {error}"
        ) from error
    return loop


def run_loop(
    loop: Loop,
    context: TrainContext,
    books: Bookkeeping,
    *,
    name: str,
    arguments: Mapping[str, object],
    root: Path,
) -> None:
    """Lets the loop train to the plan's last step.

    Raises:
        OrchestratorError: it failed, uses the context in a wrong way, or ends too early.
    """
    with user_code(name, field="training.loop", root=root):
        try:
            loop(context, **arguments)
            if context.step < context.total_steps:
                raise MisuseError(
                    f"it returned after step {context.step} of {context.total_steps}; wanted all of"
                    " the batches that context.batches() gives"
                )
        except Exception:  # raised again, once what is done is saved
            # A step that was done is not to be lost with what fails after it.
            books.rescue()
            raise
        books.finish()
