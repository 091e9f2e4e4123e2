"""How many workers each attempt of a run has, as the cluster shrinks and grows."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.checkpoint.attempts import Attempt
from orchestrator.errors import JobFailedError, PlanError
from orchestrator.jsonl import JsonLinesWriter, JsonObject
from orchestrator.plan.job import JobPlan
from orchestrator.run.attempt_scaling import AttemptScaling
from orchestrator.run.cost import Cost, cost_of
from orchestrator.run.describe import write_plan
from orchestrator.run.directory import RunDirectory, replace_file
from orchestrator.run.failure import Failure
from orchestrator.run.nodes import (
    NodeState,
    answers,
    capacity_of_states,
    look_at_nodes,
    own_node,
    placed,
    training_nodes,
)
from orchestrator.train.stop import STOP_FILE

# What an attempt has held is free again within a second or two of its end.
SETTLE_S = 5.0
_LOOK_EVERY_S = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class _End:
    """How the training was interrupted, and when; Unix time."""

    at: float
    why: str
    cost: Cost


class Scaler:
    """Chooses the number of workers, and stops an attempt that is to have another one.

    On an embedded Ray there is one machine, which neither grows nor goes: nothing is done there.
    """

    def __init__(
        self,
        directory: RunDirectory,
        events: JsonLinesWriter,
        *,
        look: Callable[[], Sequence[NodeState]] = look_at_nodes,
        reach: Callable[[NodeState], bool] = answers,
        hosts: Callable[[], Mapping[str, int]] = training_nodes,
        own: Callable[[], str] = own_node,
        places: Callable[[set[str]], JsonObject] = placed,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._directory = directory
        self._events = events
        self._look = look
        self._reach = reach
        self._hosts = hosts
        self._own = own
        self._places = places
        self._pool_workers: set[str] = set()
        self._clock = clock
        self._sleep = sleep
        self._noticed: set[str] = set()
        self._watch: AttemptScaling | None = None
        self._end: _End | None = None
        self._workers: int | None = None

    def sized(self, plan: JobPlan, *, check: Callable[[], None]) -> JobPlan:
        """The plan for as many workers as the cluster has room for now.

        Args:
            check: called several times a second; what it raises ends the wait.
        """
        if plan.resources.capacity.embedded or not plan.spec.scaling.elastic:
            return plan
        ceiling = self._watch.ceiling if self._watch is not None else None
        until = self._clock() + SETTLE_S
        while True:
            check()
            nodes = [node for node in self._look() if node.stays and self._reach(node)]
            offered = _on(plan, nodes, free=False, most=ceiling)
            now = _on(plan, nodes, free=True, most=ceiling)
            settled = now is not None and offered is not None and now.workers >= offered.workers
            if settled or self._clock() >= until:
                break
            self._sleep(_LOOK_EVERY_S)
        # With no room even for the fewest, these wait for it: that is told, and has a limit.
        chosen = now or offered or replace(plan, workers=plan.spec.scaling.least_workers)
        write_plan(chosen, self._directory)
        return chosen

    def watch(self, plan: JobPlan, attempt: Attempt) -> AttemptScaling | None:
        """What is called while an attempt is at work; None where no node can come or go."""
        if plan.resources.capacity.embedded:
            return None
        if self._workers is None:
            earlier = [each for each in self._directory.attempts.all() if each != attempt]
            self._workers = earlier[-1].workers if earlier else None

        def tell(event: str, fields: JsonObject) -> None:
            self._tell(event, attempt, fields)

        self._watch = AttemptScaling(
            plan,
            noticed=self._noticed,
            look=self._look,
            reach=self._reach,
            hosts=self._hosts,
            ask=lambda: replace_file(self._directory.path / STOP_FILE, str(attempt.number)),
            tell=tell,
            began=lambda event: self._began(plan, attempt, event),
            clock=self._clock,
        )
        return self._watch

    @property
    def asked(self) -> bool:
        """Whether it is the driver that has asked the workers to stop."""
        return self._watch is not None and self._watch.stop is not None

    def after_stop(self, attempt: Attempt, why: str) -> Failure | None:
        """What an attempt that was stopped is to be charged to; None where that is nothing.

        Raises:
            JobFailedError: the driver itself cannot go on here.
        """
        stop = self._watch.stop if self._watch is not None else None
        why = stop.why if stop is not None else why
        at = (self._watch.stopped_at if self._watch is not None else None) or time.time()
        self._ended(attempt, why, at=at)
        if stop is None or stop.node is None:
            return None
        if stop.node.id == self._own():
            raise JobFailedError(
                f"{why}, and the driver runs on it",
                hint="what was trained is saved: the same command goes on, from another node",
            )
        return Failure(reason=why, step=attempt.step, died=True, kind="preemption")

    def failed(self, failure: Failure, attempt: Attempt) -> Failure:
        """The failure of an attempt, as a preemption where its end had been told of."""
        stop = self._watch.stop if self._watch is not None else None
        may_be = failure.died and failure.kind in {"worker", "node", "preprocessing"}
        if may_be and stop is not None and stop.kind == "preemption":
            failure = replace(failure, kind="preemption", reason=f"{failure.reason}; {stop.why}")
        self._ended(attempt, failure.reason, at=time.time())
        return failure

    def _ended(self, attempt: Attempt, why: str, *, at: float) -> None:
        # Of several attempts that fail before any trains, the first has cost what there was.
        if self._end is None:
            self._end = _End(at=at, why=why, cost=cost_of(self._directory, attempt, now=at))

    def _began(self, plan: JobPlan, attempt: Attempt, event: JsonObject) -> None:
        """Tells, once an attempt trains, where, and whether it has other workers than before."""
        self._tell("placed", attempt, self._places(self._pool_workers))
        before, self._workers = self._workers, plan.workers
        end, self._end = self._end, None
        if not plan.spec.scaling.elastic or before is None or before == plan.workers:
            return
        fields: JsonObject = {
            "step": event.get("step"),
            "from": before,
            "to": plan.workers,
            "why": f"the cluster has room for {plan.workers} workers",
        }
        at = event.get("time")
        if end is not None and isinstance(at, int | float):
            fields |= {"why": end.why, **end.cost.fields}
            fields["seconds_down"] = round(max(0.0, at - end.at), 3)
        self._tell("grown" if plan.workers > before else "shrunk", attempt, fields)

    def _tell(self, event: str, attempt: Attempt, fields: JsonObject) -> None:
        self._events.write(
            {"time": time.time(), "event": event, "attempt": attempt.number, **fields}
        )


def _on(
    plan: JobPlan, nodes: Sequence[NodeState], *, free: bool, most: int | None
) -> JobPlan | None:
    """The plan for some nodes; None where not even the fewest workers find room there."""
    try:
        return plan.on(capacity_of_states(nodes, free=free), most=most)
    except PlanError:
        return None
