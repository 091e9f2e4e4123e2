"""A preprocessing worker that dies on the same rows again and again: a crash in a transform."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from ray.exceptions import RayActorError, RayTaskError

from orchestrator.errors import DataError

Block = TypeVar("Block")

# How often a call is made again whose worker has died. Ray itself would go on for ever, also where
# the transform crashes each time; an accident does not happen so often to the same call.
CALL_RETRIES = 3


def named_deaths(
    blocks: Iterable[Block], uses: Sequence[str], *, through_coordinator: bool
) -> Iterator[Block]:
    """The blocks of a pool's workers; the transforms are named where these die again and again.

    Args:
        uses: the transforms that the workers apply.
        through_coordinator: whether an actor of Ray's hands the blocks out, whose own death is no
            fault of the transforms.

    Raises:
        DataError: a call was given up.
    """
    try:
        yield from blocks
    except RayActorError as error:
        if error.actor_init_failed or isinstance(error, RayTaskError) != through_coordinator:
            raise
        what = f"in one of {', '.join(uses)}" if uses else "while it read the files"
        raise DataError(
            f"a preprocessing worker died {CALL_RETRIES + 1} times on the same rows, {what}",
            hint="compiled code may crash, call exit or take too much memory; the run's log has"
            " the worker's last words",
        ) from error
