"""The errors a user can act on, each with the exit code of its kind."""

from typing import ClassVar, Literal

from orchestrator.redaction.process import redact

FailureClass = Literal[
    "worker", "preprocessing", "node", "preemption", "hang", "oom", "bad_data", "driver"
]
"""What a run can fail of; each has a budget of its own in the spec's section `failure`."""


class OrchestratorError(Exception):
    """What went wrong, where, what was given and what is wanted, in one message.

    One positional message and keyword-only fields with defaults: an exception of any other shape
    does not survive pickling, and ours cross Ray's process borders. Secrets are taken out here, as
    nobody knows where an error will be printed.
    """

    exit_code: ClassVar[int] = 1
    # The budget that pays for another attempt after it; None where that would give the same.
    failure_class: ClassVar[FailureClass | None] = None

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(redact(message))
        self.hint = None if hint is None else redact(hint)


class JobFailedError(OrchestratorError):
    """The training itself failed, or its restart budget is spent."""


class DeviceMemoryError(JobFailedError):
    """The memory of a training worker's device does not suffice."""

    failure_class = "oom"


class NotFiniteError(JobFailedError):
    """The loss, or a weight, has become infinite or not a number.

    `place` is the step that did it, by the order and counted from 0 through all epochs, None where
    that is not known; `rows` are those at fault, as far as they are known. `frees` is a step that
    was left out for it and need not have been.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        place: int | None = None,
        rows: tuple[int, ...] = (),
        frees: int | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.place = place
        self.rows = rows
        self.frees = frees


class LedgerError(OrchestratorError):
    """A ledger is missing, torn or edited, or does not say what the order says."""


class SpecError(OrchestratorError):
    """The job spec is wrong; `problems` holds one line for each mistake."""

    exit_code = 2

    def __init__(
        self, message: str, *, hint: str | None = None, problems: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, hint=hint)
        self.problems = tuple(map(redact, problems))


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
