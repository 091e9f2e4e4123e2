"""A failed attempt: written down, charged to the budget of its class, and tried again or not."""

import time

from orchestrator.checkpoint.attempts import Attempt
from orchestrator.errors import JobFailedError
from orchestrator.jsonl import JsonLinesWriter
from orchestrator.run.budgets import read_account, write_account
from orchestrator.run.cost import cost_of, saved_steps
from orchestrator.run.directory import RunDirectory
from orchestrator.run.driver_death import record_unseen_death
from orchestrator.run.failure import Failure, GiveUp, decide
from orchestrator.run.host_memory import OomKills
from orchestrator.spec.failure import FailureSpec


class Recovery:
    """Answers for the budgets of a run, which all drivers that it has had have shared.

    Attributes:
        reason: why the last attempt failed, None before any has.
    """

    def __init__(self, spec: FailureSpec, directory: RunDirectory, events: JsonLinesWriter) -> None:
        self._spec = spec
        self._directory = directory
        self._events = events
        self._oom_kills = OomKills()
        self.reason: str | None = None

    def begin(self) -> None:
        """Writes down the death of the driver before, where no supervisor has."""
        record_unseen_death(self._directory, self._events)

    def tell(self, failure: Failure, attempt: Attempt) -> Failure:
        """Writes down what an attempt failed of and what that cost; returns it in final words."""
        failure = self._oom_kills.named(failure)
        now = time.time()
        self._events.write(
            {
                "time": now,
                "event": "attempt-failed",
                "attempt": attempt.number,
                "reason": failure.reason,
                "class": failure.kind,
                **cost_of(self._directory, attempt, now=now).fields,
            }
        )
        self.reason = failure.reason
        return failure

    def go_on(self, failure: Failure, error: Exception) -> None:
        """Charges a failure; returns if there may be another attempt.

        Raises:
            OrchestratorError: the run has failed.
        """
        account = read_account(self._directory.path)
        raised = failure.signature
        again = raised is not None and raised == account.last
        if failure.kind is not None:
            account = account.charged(failure.kind, step=saved_steps(self._directory), last=raised)
            write_account(account, self._directory.path)
        decision = decide(failure, account, self._spec, again=again)
        if isinstance(decision, GiveUp):
            if decision.cause is error:
                raise error
            raise decision.cause or JobFailedError(
                f"training failed: {decision.why}",
                hint=f"what the workers printed is in {self._directory.logs}",
            ) from error
