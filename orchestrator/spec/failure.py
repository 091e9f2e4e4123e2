"""How many failures of each class a run survives."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, Strict

from orchestrator.errors import FailureClass
from orchestrator.spec.base import LARGEST_COUNT, SpecModel, Whole
from orchestrator.units import Duration

Budget = Annotated[int, Strict(), Field(ge=-1, le=LARGEST_COUNT)]


def _long_enough(timeout: float | Literal["off"]) -> float | Literal["off"]:
    if timeout != "off" and timeout < 1:
        raise ValueError('wanted at least "1s", or "off"')
    return timeout


HangTimeout = Annotated[Duration | Literal["off"], AfterValidator(_long_enough)]


class FailureSpec(SpecModel):
    """The budgets of a run by class of failure; a newer checkpoint fills them again."""

    worker_restarts: Budget = Field(
        default=3,
        description="Restarts from a checkpoint after the loss of a worker, also where its host "
        "ran out of memory, or after an exception of it; -1 is without limit.",
    )
    preprocessing_restarts: Budget = Field(
        default=3,
        description="Restarts after the loss of what feeds the workers, such as the split "
        "coordinator. A preprocessing worker is replaced without a restart.",
    )
    node_restarts: Budget = Field(
        default=10, description="Restarts after the loss of a node with workers on it."
    )
    preemption_restarts: Budget = Field(
        default=-1, description="Restarts after a node with workers on it was preempted."
    )
    hang_restarts: Budget = Field(
        default=3, description="Restarts after a worker that made no progress."
    )
    oom_restarts: Budget = Field(
        default=1, description="Restarts after the memory of a worker's device ran out."
    )
    bad_data_restarts: Budget = Field(
        default=0,
        description="Restarts after data, or a transform of it, that raised; the same bytes mostly "
        "raise again.",
    )
    restart_driver: Whole = Field(
        default=0,
        description="Starts of the driver after its death by a signal or a crash, by a small "
        "supervisor; with 0 there is none, and the same command goes on.",
    )
    starvation_timeout: Duration = Field(
        default=300.0,
        description="How long workers that find no place in the cluster are waited for; "
        "that they wait, and why, is told after seconds.",
        json_schema_extra={"default": "5m"},
    )

    hang_timeout: HangTimeout = Field(
        default=1200.0,
        description="How long no worker may get any further, until the one that holds up the "
        "others is named with its stack, and all are restarted; to be longer than the longest "
        'step, compilation or save; "off" waits for ever.',
        json_schema_extra={"default": "20m"},
    )

    def budget(self, kind: FailureClass) -> int:
        """How many failures of a class without a newer checkpoint are survived; -1 is any."""
        budgets: dict[FailureClass, int] = {
            "worker": self.worker_restarts,
            "preprocessing": self.preprocessing_restarts,
            "node": self.node_restarts,
            "preemption": self.preemption_restarts,
            "hang": self.hang_restarts,
            "oom": self.oom_restarts,
            "bad_data": self.bad_data_restarts,
            "driver": self.restart_driver,
        }
        return budgets[kind]
