"""What a failed attempt means, from Ray's own errors, and what follows from it."""

from pathlib import Path
from typing import cast

import pytest
import torch
from ray import cloudpickle
from ray.core.generated.common_pb2 import ActorDiedErrorContext, NodeDeathInfo
from ray.exceptions import (
    ActorDiedError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
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
from ray.train.v2.api.preemption import PreemptionInfo
from torch.distributed import DistBackendError

from orchestrator.checkpoint.manifest import DamagedError
from orchestrator.errors import CheckpointError, DataError, FailureClass, JobFailedError
from orchestrator.run.budgets import Account
from orchestrator.run.failure import Failure, GiveUp, Restart, decide, describe_failure
from orchestrator.spec.failure import FailureSpec
from tests.support.rank_jobs import lose_a_rank
from tests.support.ranks import Died, Raised, try_ranks

ACTOR_DIED = "ActorDiedError: The actor died unexpectedly before finishing this task."
GLOO = RuntimeError(
    "[/third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer"
    " [127.0.0.1]:937. This is typically caused by a remote worker crashing."
)


def group(**failures: Exception) -> WorkerGroupError:
    """The errors of ranks r0, r1, ...; the last comes first, as ranks do not fail in order."""
    ranks = {int(rank[1:]): failure for rank, failure in reversed(failures.items())}
    return WorkerGroupError("Rank 0 Error Snippet: ...", ranks)


def actor_died() -> ActorDiedError:
    context = ActorDiedErrorContext(
        class_name="RayTrainWorker", actor_id=b"1" * 16, pid=7, error_message="Worker exit: killed."
    )
    return ActorDiedError(context)


def dead(message: str, *, actor: str = "RayTrainWorker", preempted: bool = False) -> ActorDiedError:
    """The error that Ray makes of its own account of an actor's death."""
    context = ActorDiedErrorContext(
        class_name=actor, actor_id=b"1" * 16, pid=7, error_message=message
    )
    if preempted:
        context.node_death_info.reason = NodeDeathInfo.AUTOSCALER_DRAIN_PREEMPTED
    return ActorDiedError(context)


class Hung(JobFailedError):
    """As a watchdog raises it."""

    failure_class = "hang"


def unhealthy(failure: Exception) -> WorkerHealthCheckFailedError:
    return WorkerHealthCheckFailedError("A worker health check failed.\nWorker info: ...", failure)


def task_error(cause: Exception) -> Exception:
    """What `ray.get` raises for a task that raised; also of the cause's class."""
    trace = f"Traceback (most recent call last):\n  File x\n{type(cause).__name__}: {cause}"
    made = RayTaskError("get", trace, cause, proctitle="ray::get", pid=1, ip="127.0.0.1")
    return made.as_instanceof_cause()


def started_actor_died(cause: Exception) -> ActorDiedError:
    error = task_error(cause)
    assert isinstance(error, RayTaskError)
    inner = RayTaskError("__init__", f"Traceback:\n  File x\n{cause!r}", cause, pid=1, ip="1.1.1.1")
    return ActorDiedError(inner)


@pytest.mark.parametrize(
    ("error", "reason", "died"),
    [
        pytest.param(
            group(r2=unhealthy(actor_died())), f"worker 2 died: {ACTOR_DIED}", True, id="killed"
        ),
        pytest.param(
            group(r0=GLOO, r1=GLOO, r2=unhealthy(actor_died())),
            f"worker 2 died: {ACTOR_DIED}",
            True,
            id="killed, and the neighbours notice",
        ),
        pytest.param(
            group(r1=unhealthy(OutOfMemoryError("used up all memory\nof the node"))),
            "worker 1 died, its host was out of memory: OutOfMemoryError: used up all memory",
            True,
            id="out of memory",
        ),
        pytest.param(
            group(r1=WorkerHealthCheckTimeoutError("A worker health check has been hanging.")),
            "worker 1 died: WorkerHealthCheckTimeoutError: A worker health check has been hanging.",
            True,
            id="hangs",
        ),
        pytest.param(
            group(r1=ValueError("no such colour\nat all")),
            "worker 1 failed: ValueError: no such colour",
            False,
            id="the user's error",
        ),
        pytest.param(
            group(r0=UserExceptionWithTraceback(KeyError("colour"), "Traceback ...")),
            "worker 0 failed: KeyError: 'colour'",
            False,
            id="the user's error, wrapped",
        ),
        pytest.param(
            group(r0=GLOO, r1=ValueError("no"), r2=GLOO),
            "worker 1 failed: ValueError: no",
            False,
            id="an error explains the lost connections",
        ),
        pytest.param(
            group(r1=GLOO, r2=GLOO),
            "worker 1 lost its connection to another worker",
            True,
            id="only lost connections",
        ),
        pytest.param(
            group(r0=DistBackendError("NCCL error: remote process exited")),
            "worker 0 lost its connection to another worker",
            True,
            id="nccl",
        ),
        pytest.param(
            group(r0=RuntimeError("[enforce fail at gloo/transport/pair.cc:446] 16 vs 8")),
            "worker 0 failed: RuntimeError: [enforce fail at gloo/transport/pair.cc:446] 16 vs 8",
            False,
            id="ranks that disagree about a size",
        ),
        pytest.param(
            group(r0=task_error(ValueError("bad pixel"))),
            "worker 0 failed: ValueError: bad pixel",
            False,
            id="a task raised",
        ),
        pytest.param(
            group(r1=actor_died()),
            f"worker 1 lost a process that fed it: {ACTOR_DIED}",
            True,
            id="not the worker died, but what fed it",
        ),
        pytest.param(
            group(r0=task_error(ObjectLostError("a1", None, ""))),
            "worker 0 lost a process that fed it: ObjectLostError",
            True,
            id="a block was lost",
        ),
        pytest.param(
            group(r0=started_actor_died(ValueError("no such file"))),
            "worker 0 failed: ActorDiedError: ValueError('no such file')",
            False,
            id="a preprocessing worker could not be constructed",
        ),
        pytest.param(
            ControllerError(WorkerGroupStartupFailedError("At least one worker failed")),
            "WorkerGroupStartupFailedError: At least one worker failed",
            True,
            id="a group that never started",
        ),
        pytest.param(ControllerError(actor_died()), ACTOR_DIED, True, id="a node that died"),
        pytest.param(
            group(r0=ValueError("")), "worker 0 failed: ValueError", False, id="without a message"
        ),
    ],
)
def test_an_error_of_ray_is_told_in_one_line(error: Exception, reason: str, died: bool) -> None:
    failure = describe_failure(error, step=7)
    assert failure.reason.startswith(reason)
    assert "\n" not in failure.reason
    assert (failure.step, failure.died, failure.cause) == (7, died, None)


@pytest.mark.parametrize(
    "error",
    [
        group(r1=ValueError("no"), r2=GLOO),
        group(r1=unhealthy(ActorDiedError())),
        group(r1=task_error(task_error(ValueError("no")))),
        ControllerError(WorkerGroupStartupFailedError("no")),
    ],
)
def test_an_error_means_the_same_in_another_process(error: Exception) -> None:
    travelled = cloudpickle.loads(cloudpickle.dumps(error))
    assert describe_failure(travelled, step=1) == describe_failure(error, step=1)


OURS = DataError("row 17 of part-0 is cursed", hint="look at it")


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(group(r1=OURS), id="raised by a worker"),
        pytest.param(group(r0=GLOO, r1=unhealthy(actor_died()), r2=OURS), id="among others"),
        pytest.param(group(r0=UserExceptionWithTraceback(OURS, "Traceback ...")), id="wrapped"),
        pytest.param(group(r0=task_error(OURS)), id="raised by a task"),
        pytest.param(group(r0=task_error(task_error(OURS))), id="raised by a task of a task"),
        pytest.param(ControllerError(OURS), id="raised by the controller"),
        pytest.param(ControllerError(task_error(OURS)), id="raised by a task of the controller"),
    ],
)
def test_an_error_of_ours_wins_over_everything(error: Exception) -> None:
    failure = describe_failure(error, step=3)
    assert failure.reason == "row 17 of part-0 is cursed"
    assert type(failure.cause) is DataError
    assert (str(failure.cause), failure.cause.hint) == (failure.reason, "look at it")


def test_an_error_of_ours_is_found_below_what_it_caused() -> None:
    def fail() -> None:
        try:
            raise OURS
        finally:
            raise ValueError("while cleaning up")

    with pytest.raises(ValueError, match="cleaning") as caught:
        fail()
    assert describe_failure(group(r0=caught.value), step=0).cause is OURS


def test_the_error_that_a_user_raised_is_told_and_not_what_it_came_from() -> None:
    def fail() -> None:
        try:
            raise KeyError("label")
        except KeyError as error:
            raise ValueError("no label in the batch") from error

    with pytest.raises(ValueError, match="no label") as caught:
        fail()
    failure = describe_failure(group(r0=caught.value), step=0)
    assert failure.reason == "worker 0 failed: ValueError: no label in the batch"


def test_rays_advice_is_taken_off_an_error_of_ours() -> None:
    advised = DataError(
        "transform a:b failed on rows 1, 2\nFailed to apply UDF transform after 1/1 attempts"
        " (total backoff 0.0s).\nTo change retry attempts, configure `retried_io_errors`.",
        hint="h",
    )
    failure = describe_failure(group(r0=task_error(advised)), step=0)
    assert failure.cause is not None
    assert str(failure.cause) == "transform a:b failed on rows 1, 2"
    assert (type(failure.cause), failure.cause.hint) == (DataError, "h")


def test_the_error_of_a_stage_is_not_told_as_a_dead_worker() -> None:
    error = task_error(UserCodeException("UDF failed to process a data block."))
    failure = describe_failure(group(r0=error), step=0)
    assert not failure.died
    assert failure.reason == (
        "worker 0 failed: UserCodeException: UDF failed to process a data block."
    )


@pytest.mark.parametrize("error", [ValueError("x" * 5000), JobFailedError("x" * 5000)])
def test_a_long_message_is_cut_short(error: Exception) -> None:
    reason = describe_failure(group(r0=error), step=0).reason
    assert len(reason) < 330
    assert reason.endswith("xxx...")


def test_what_gloo_raises_when_a_rank_dies_is_a_lost_connection(tmp_path: Path) -> None:
    survivor, dead = try_ranks(2, lose_a_rank, folder=tmp_path)
    assert dead == Died(exit_code=9)
    assert isinstance(survivor, Raised)
    failure = describe_failure(group(r0=survivor.error), step=1)
    assert failure == Failure(
        reason="worker 0 lost its connection to another worker", step=1, died=True
    )


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (group(r2=unhealthy(actor_died())), "worker"),
        (group(r1=GLOO, r2=GLOO), "worker"),
        (group(r1=ValueError("no such colour")), "worker"),
        (group(r1=unhealthy(OutOfMemoryError("used up all memory"))), "worker"),
        (group(r1=actor_died()), "preprocessing"),
        (group(r1=task_error(ObjectLostError("a1", None, ""))), "preprocessing"),
        (group(r1=unhealthy(dead("The actor died because its node has died. Id: 1"))), "node"),
        (group(r0=GLOO, r1=unhealthy(dead("The actor died because its node has died."))), "node"),
        (group(r0=NodeDiedError("Task failed because the node it was running on is dead")), "node"),
        (group(r1=unhealthy(dead("The node was drained.", preempted=True))), "preemption"),
        (
            PreemptionError(PreemptionInfo(deadline_ms=None, preempted_node_to_ranks={"n": [1]})),
            "preemption",
        ),
        (group(r1=WorkerHealthCheckTimeoutError("hanging")), "hang"),
        (group(r0=GLOO, r1=torch.OutOfMemoryError("CUDA out of memory.")), "oom"),
        (group(r0=OURS), "bad_data"),
        (OURS, "bad_data"),
        (group(r0=CheckpointError("the disk is full")), None),
        (group(r0=DamagedError("state.pt has 3 bytes")), "worker"),
        (group(r0=Hung("worker 1 makes no progress")), "hang"),
        (ControllerError(actor_died()), "worker"),
    ],
)
def test_each_failure_has_a_class(error: BaseException, kind: str | None) -> None:
    assert describe_failure(error, step=7).kind == kind


def test_the_split_coordinator_is_named_when_its_death_costs_an_attempt() -> None:
    reason = describe_failure(group(r1=dead("killed", actor="SplitCoordinator")), step=7).reason
    assert reason.startswith("worker 1 lost its split coordinator: ActorDiedError")


def failure(kind: FailureClass | None = "worker", reason: str = "it died") -> Failure:
    cause = DataError(reason) if kind in (None, "bad_data") else None
    return Failure(reason=reason, step=5, died=cause is None, cause=cause, kind=kind)


def account(**spent: int) -> Account:
    return Account(spent=cast("dict[FailureClass, int]", spent))


RESTART = "restart"


@pytest.mark.parametrize(
    ("failed", "spent", "outcome"),
    [
        (failure(), account(worker=3), RESTART),
        (failure(), account(worker=4), "failure.worker_restarts (3) is used up: it died"),
        (failure("node"), account(worker=9, node=1), RESTART),
        (failure("node"), account(node=11), "failure.node_restarts (10) is used up"),
        (failure("preemption"), account(preemption=500), RESTART),
        (failure("preprocessing"), account(preprocessing=6), "failure.preprocessing_restarts (5)"),
        (failure("hang"), account(hang=4), "failure.hang_restarts (3)"),
        (failure("oom"), account(oom=2), "failure.oom_restarts (1)"),
        (failure("bad_data", "bad row"), account(bad_data=1), "bad row"),
        (failure(None, "bad spec"), account(), "bad spec"),
    ],
)
def test_what_follows_from_a_failure_and_its_budget(
    failed: Failure, spent: Account, outcome: str
) -> None:
    decision = decide(failed, spent, FailureSpec(), again=False)
    if outcome == RESTART:
        assert decision == Restart()
    else:
        assert isinstance(decision, GiveUp)
        assert outcome in decision.why
        assert decision.cause == failed.cause


def test_the_same_exception_at_the_same_step_is_not_tried_a_third_time() -> None:
    raised = Failure(reason="worker 1 failed: ValueError: x", step=5)
    assert decide(raised, account(worker=1), FailureSpec(), again=False) == Restart()
    unbounded = FailureSpec(worker_restarts=-1)
    decision = decide(raised, account(worker=2), unbounded, again=True)
    assert isinstance(decision, GiveUp)
    assert decision.why == "it failed in the same way twice: worker 1 failed: ValueError: x"
    assert raised.signature != Failure(reason=raised.reason, step=6).signature
    assert Failure(reason="killed", step=5, died=True).signature is None
