"""What to do after a failed attempt: pure decisions about plain values."""

import copy
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ray.exceptions import RayActorError, RayError, RayTaskError, UserCodeException
from ray.train import ControllerError, WorkerGroupError
from ray.train.v2._internal.exceptions import (
    UserExceptionWithTraceback,
    WorkerHealthCheckFailedError,
    WorkerHealthCheckTimeoutError,
)
from torch.distributed import DistError

from orchestrator.checkpoint.manifest import DamagedError
from orchestrator.errors import OrchestratorError
from orchestrator.redaction.process import redact
from orchestrator.units import format_count

_LONGEST_LINE = 300
# Ray Data adds advice about settings of its own to the message of whatever a stage raised.
_RAYS_ADVICE = re.compile(
    r"\nFailed to [^\n]* after \d+/\d+ attempts \(total backoff .*", re.DOTALL
)


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
    # A checkpoint that was damaged after it was chosen is set aside by the next choice.
    if last.cause is not None and not isinstance(last.cause, DamagedError):
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
    before an exception before what the neighbours raise when the connection to one of them breaks.
    """
    for cause in _causes(error):
        # Ray also makes classes that are both its own error and ours: the traceback is their text.
        if isinstance(cause, OrchestratorError) and not isinstance(cause, RayTaskError):
            ours = _without_advice(cause)
            return Failure(reason=_line(ours), step=step, cause=ours)
    ranks = sorted(_rank_errors(error).items())
    for rank, failure in ranks:
        if isinstance(failure, WorkerHealthCheckFailedError | WorkerHealthCheckTimeoutError):
            reason = f"worker {rank} died: {_line(_essence(failure))}"
            return Failure(reason=reason, step=step, died=True)
    essences = [(rank, _essence(failure)) for rank, failure in ranks]
    for rank, essence in essences:
        if _lost_process(essence):
            reason = f"worker {rank} lost a process that fed it: {_line(essence)}"
            return Failure(reason=reason, step=step, died=True)
    for rank, essence in essences:
        if not _lost_connection(essence):
            return Failure(reason=f"worker {rank} failed: {_line(essence)}", step=step)
    for rank, _ in essences:
        reason = f"worker {rank} lost its connection to another worker"
        return Failure(reason=reason, step=step, died=True)
    essence = _essence(error)
    return Failure(reason=_line(essence), step=step, died=_lost_process(essence))


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
        waiting += [failure for _, failure in sorted(_rank_errors(current).items())]
        context = None if current.__suppress_context__ else current.__context__
        inner = (_wrapped(current), current.__cause__, context)
        waiting += [link for link in inner if link is not None]


def _essence(error: BaseException) -> BaseException:
    """What was raised, out of all that Ray has wrapped it in."""
    while (inner := _wrapped(error)) is not None and inner is not error:
        error = inner
    return error


def _wrapped(error: BaseException) -> BaseException | None:
    """What one of Ray's wrappers holds, None for any other error."""
    inner: object = None
    match error:
        case ControllerError():
            inner = error.controller_failure
        case WorkerHealthCheckFailedError():
            inner = error.health_check_failure
        case UserExceptionWithTraceback():
            inner = error._base_exc
        case RayTaskError():
            inner = error.cause
        case UserCodeException():
            inner = error.__cause__
    return inner if isinstance(inner, BaseException) else None


def _lost_process(error: BaseException) -> bool:
    """Whether a process, or what it held, was gone: most of Ray's own errors say so."""
    return (
        isinstance(error, RayError)
        and not isinstance(error, RayTaskError | UserCodeException)
        and not _never_began(error)
    )


def _never_began(error: BaseException) -> bool:
    """Whether an actor raised when it was constructed, as it would another time."""
    return isinstance(error, RayActorError) and error.actor_init_failed


def _lost_connection(error: BaseException) -> bool:
    """Whether a collective failed because another rank was gone; gloo has no class for it."""
    text = str(error) if isinstance(error, RuntimeError) else ""
    # An "enforce" that fails in gloo is no broken connection: ranks disagree about a size.
    return isinstance(error, DistError) or ("gloo/transport" in text and "enforce" not in text)


def _without_advice(error: OrchestratorError) -> OrchestratorError:
    text = str(error)
    if (advice := _RAYS_ADVICE.search(text)) is None:
        return error
    plain = copy.copy(error)
    plain.args = (text[: advice.start()],)
    return plain


def _line(error: BaseException) -> str:
    """An error as one line, as short as it can be understood."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # That one's text is a traceback, whose last line says what was raised.
    text = lines[-1 if _never_began(error) else 0] if lines else ""
    if not isinstance(error, OrchestratorError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    # Before it is cut, which would leave half a secret.
    text = redact(text)
    return text if len(text) <= _LONGEST_LINE else f"{text[: _LONGEST_LINE - 3]}..."
