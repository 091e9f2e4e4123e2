"""How many failures a run survives."""

from typing import Annotated

from pydantic import Field, Strict

from orchestrator.spec.base import LARGEST_COUNT, SpecModel
from orchestrator.units import Duration


class FailureSpec(SpecModel):
    """The budgets of a run for failures."""

    worker_restarts: Annotated[int, Strict(), Field(ge=-1, le=LARGEST_COUNT)] = Field(
        default=3,
        description="Restarts from a checkpoint after the loss of a worker; -1 is without limit.",
    )
    starvation_timeout: Duration = Field(
        default=300.0,
        description="How long workers that find no place in the cluster are waited for; "
        "that they wait, and why, is told after seconds.",
        json_schema_extra={"default": "5m"},
    )
