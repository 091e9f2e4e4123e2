"""What to do after a failed attempt: pure decisions about plain values."""

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from ray.exceptions import (
    NodeDiedError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
    UserCodeException,
)
from ray.train import ControllerError, PreemptionError, WorkerGroupError
from ray.train.v2._internal.exceptions import (
    UserExceptionWithTraceback,
    WorkerGroupStartupFailedError,
    WorkerHealthCheckFailedError,
    WorkerHealthCheckTimeoutError,
)
from torch.distributed import DistError

from orchestrator.checkpoint.manifest import DamagedError
from orchestrator.errors import FailureClass, OrchestratorError
from orchestrator.redaction.process import redact
from orchestrator.run.budgets import Account
from orchestrator.spec.failure import FailureSpec
from orchestrator.units import format_count

_LONGEST_LINE = 300
# Of an actor whose node is gone Ray tells in its text only.
_NODE_DIED = re.compile(r"\bnode (?:has )?(?:died|is dead)\b")
# Ray Data adds advice about settings of its own to the message of whatever a stage raised.
_RAYS_ADVICE = re.compile(
    r"\nFailed to [^\n]* after \d+/\d+ attempts \(total backoff .*", re.DOTALL
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """How an attempt ended.

    `cause` is set where the error is ours: it says what the user can do about it, and trying again
    would mostly give the same. `died` is true where a process was lost rather than an exception
    raised. `kind` names the budget that another attempt is charged to, None where none pays for it.
    """

    reason: str
    step: int
    died: bool = False
    cause: OrchestratorError | None = None
    kind: FailureClass | None = "worker"

    @property
    def signature(self) -> str | None:
        """What was raised and where; None for a death, which may well happen twice."""
        return None if self.died else f"step {self.step}: {self.reason}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Restart:
    """Try again from the newest valid checkpoint."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GiveUp:
    """End the run.

    `cause` is to be raised as it is, where it is set.
    """

    why: str
    cause: OrchestratorError | None = None


def decide(
    failure: Failure, account: Account, spec: FailureSpec, *, again: bool
) -> Restart | GiveUp:
    """What follows a failure.

    Args:
        account: what is spent of the budgets, with this failure.
        again: whether the failure before it was the very same exception.
    """
    if failure.kind is None:
        return GiveUp(why=failure.reason, cause=failure.cause)
    if again and failure.kind != "bad_data":
        return GiveUp(why=f"it failed in the same way twice: {failure.reason}")
    budget = spec.budget(failure.kind)
    if not account.overdrawn(failure.kind, budget):
        return Restart()
    # Bad data are what the error is about, however often they were read.
    cause = failure.cause if failure.kind == "bad_data" else None
    used_up = (
        f"failure.{failure.kind}_restarts ({format_count(budget)}) is used up: {failure.reason}"
    )
    return GiveUp(why=used_up, cause=cause)


def describe_failure(error: BaseException, *, step: int) -> Failure:
    """What an error of an attempt means.

    Of several ranks' errors the one that explains the others counts: ours before a dead process
    before an exception before what the neighbours raise when the connection to one of them breaks.
    """
    for cause in _causes(error):
        # Ray also makes classes that are both its own error and ours: the traceback is their text.
        if isinstance(cause, OrchestratorError) and not isinstance(cause, RayTaskError):
            ours = _without_advice(cause)
            return Failure(reason=_line(ours), step=step, cause=ours, kind=_budget_of(ours))
    reason, died, kind = _of_rays_error(error)
    return Failure(reason=reason, step=step, died=died, kind=kind)


def _budget_of(ours: OrchestratorError) -> FailureClass | None:
    # A checkpoint that was damaged after it was chosen is set aside by the next choice.
    return "worker" if isinstance(ours, DamagedError) else ours.failure_class


def _of_rays_error(error: BaseException) -> tuple[str, bool, FailureClass]:
    """What happened in words, whether something died, and of which class that is."""
    ranks = sorted(_rank_errors(error).items())
    essences = [(rank, _essence(failure)) for rank, failure in ranks]
    if isinstance(error, PreemptionError):
        return _line(error), True, "preemption"
    for rank, failure in ranks:
        if isinstance(failure, WorkerHealthCheckFailedError | WorkerHealthCheckTimeoutError):
            return _dead_worker(rank, _essence(failure))
    for rank, essence in essences:
        if _lost_process(essence):
            # Ray replaces any other process of the stream by itself.
            coordinator = "SplitCoordinator" in str(essence)
            what = "its split coordinator" if coordinator else "a process that fed it"
            kind = _class_of_death(essence, otherwise="preprocessing")
            return f"worker {rank} lost {what}: {_line(essence)}", True, kind
    for rank, essence in essences:
        if not _lost_connection(essence):
            memory = isinstance(essence, torch.OutOfMemoryError)
            return f"worker {rank} failed: {_line(essence)}", False, "oom" if memory else "worker"
    for rank, _ in essences:
        return f"worker {rank} lost its connection to another worker", True, "worker"
    essence = _essence(error)
    # A worker that is lost, or out of reach, before any code of the user has run in it.
    died = _lost_process(essence) or isinstance(essence, WorkerGroupStartupFailedError)
    return _line(essence), died, _class_of_death(essence, otherwise="worker")


def _dead_worker(rank: int, essence: BaseException) -> tuple[str, bool, FailureClass]:
    if isinstance(essence, WorkerHealthCheckTimeoutError):
        return f"worker {rank} died: {_line(essence)}", True, "hang"
    # The node's memory, and not the device's: what kills one worker says nothing of the next.
    host = ", its host was out of memory" if isinstance(essence, OutOfMemoryError) else ""
    kind = _class_of_death(essence, otherwise="worker")
    return f"worker {rank} died{host}: {_line(essence)}", True, kind


def _class_of_death(essence: BaseException, *, otherwise: FailureClass) -> FailureClass:
    if isinstance(essence, RayActorError) and essence.preempted:
        return "preemption"
    if isinstance(essence, NodeDiedError) or (
        isinstance(essence, RayActorError) and _NODE_DIED.search(str(essence))
    ):
        return "node"
    return otherwise


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
    # Their text is a traceback, whose last line says what was raised.
    traced = _never_began(error) or isinstance(error, WorkerGroupStartupFailedError)
    text = lines[-1 if traced else 0] if lines else ""
    if not isinstance(error, OrchestratorError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    # Before it is cut, which would leave half a secret.
    text = redact(text)
    return text if len(text) <= _LONGEST_LINE else f"{text[: _LONGEST_LINE - 3]}..."
