"""The errors a user can act on, each with the exit code of its kind."""

from typing import ClassVar, Literal

FailureClass = Literal[
    "worker", "preprocessing", "node", "preemption", "hang", "oom", "bad_data", "driver"
]
"""What a run can fail of; each has a budget of its own in the spec's section `failure`."""


class OrchestratorError(Exception):
    """What went wrong, where, what was given and what is wanted, in one message.

    One positional message and keyword-only fields with defaults: an exception of any other shape
    does not survive pickling, and ours cross Ray's process borders.
    """

    exit_code: ClassVar[int] = 1
    # The budget that pays for another attempt after it; None where that would give the same.
    failure_class: ClassVar[FailureClass | None] = None

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class JobFailedError(OrchestratorError):
    """The training itself failed, or its restart budget is spent."""


class LedgerError(OrchestratorError):
    """A ledger is missing, torn or edited, or does not say what the order says."""


class SpecError(OrchestratorError):
    """The job spec is wrong; `problems` holds one line for each mistake."""

    exit_code = 2

    def __init__(
        self, message: str, *, hint: str | None = None, problems: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, hint=hint)
        self.problems = problems


class PlanError(OrchestratorError):
    """The spec is well-formed but cannot be carried out as asked."""

    exit_code = 2


class UnknownRunError(OrchestratorError):
    """There is no run of the name, or in the directory, that was given."""

    exit_code = 2


class ClusterError(OrchestratorError):
    """The Ray cluster cannot be started or reached, or lacks what the plan needs."""

    exit_code = 3


class CheckpointError(OrchestratorError):
    """A checkpoint cannot be written, or none can be trusted."""

    exit_code = 4


class DataError(OrchestratorError):
    """The data, or a transform of it, is not what the plan was made for."""

    exit_code = 5
    failure_class = "bad_data"
