"""What to do after a failed attempt: pure decisions about plain values."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ray.exceptions import RayError
from ray.train import ControllerError, WorkerGroupError
from torch.distributed import DistError

from orchestrator.errors import OrchestratorError
from orchestrator.units import format_count


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """How an attempt ended.

    `cause` is set where the error is ours: it says what the user can do about it, and trying again
    would give the same. `died` is true where a process was lost rather than an exception raised.
    """

    reason: str
    step: int
    died: bool = False
    cause: OrchestratorError | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Restart:
    """Try again from the newest valid checkpoint."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GiveUp:
    """End the run."""

    why: str


def decide(failures: Sequence[Failure], *, worker_restarts: int) -> Restart | GiveUp:
    """What follows the last of the failures since the driver started.

    Args:
        worker_restarts: the budget of the spec; -1 is no limit.
    """
    last = failures[-1]
    if last.cause is not None:
        return GiveUp(why=str(last.cause))
    before = failures[-2] if len(failures) > 1 else None
    if before == last and not last.died:
        return GiveUp(why=f"it failed in the same way twice: {last.reason}")
    if 0 <= worker_restarts < len(failures):
        budget = format_count(worker_restarts)
        return GiveUp(why=f"failure.worker_restarts ({budget}) is used up: {last.reason}")
    return Restart()


def describe_failure(error: BaseException, *, step: int) -> Failure:
    """What an error of an attempt means.

    Of several ranks' errors the one that explains the others counts: ours before a dead process
    before whatever their neighbours raised when the connection broke.
    """
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, OrchestratorError):
            return Failure(reason=_line(cause), step=step, cause=cause)
    ranks = _rank_errors(error)
    for rank, failure in sorted(ranks.items()):
        if isinstance(failure, RayError):
            return Failure(reason=f"worker {rank} died: {_line(failure)}", step=step, died=True)
    for rank, failure in sorted(ranks.items()):
        innermost = list(_causes(failure))[-1]
        if _lost_connection(innermost):
            reason = f"worker {rank} lost its connection to another worker"
            return Failure(reason=reason, step=step, died=True)
        return Failure(reason=f"worker {rank} failed: {_line(innermost)}", step=step)
    return Failure(reason=_line(causes[-1]), step=step)


def _rank_errors(error: BaseException) -> dict[int, Exception]:
    return dict(error.worker_failures) if isinstance(error, WorkerGroupError) else {}


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and everything it was raised from, through Ray's wrappers."""
    seen: set[int] = set()
    waiting: list[BaseException] = [error]
    while waiting:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        waiting += _rank_errors(current).values()
        if isinstance(current, ControllerError):
            waiting.append(current.controller_failure)
        linked = (current.__cause__, getattr(current, "cause", None), current.__context__)
        inner = (*linked, getattr(current, "_base_exc", None))
        waiting += [link for link in inner if isinstance(link, BaseException)]


def _lost_connection(error: BaseException) -> bool:
    """Whether a collective failed because another rank was gone; gloo has no class for it."""
    return isinstance(error, DistError) or (
        isinstance(error, RuntimeError) and "gloo/transport" in str(error)
    )


def _line(error: BaseException) -> str:
    """An error as one line, as short as it can be understood."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else ""
    if isinstance(error, OrchestratorError):
        return text
    return f"{type(error).__name__}: {text}"[:300]
