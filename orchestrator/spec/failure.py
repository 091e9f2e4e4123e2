"""How many failures a run survives."""

from typing import Annotated

from pydantic import Field, Strict

from orchestrator.spec.base import LARGEST_COUNT, SpecModel


class FailureSpec(SpecModel):
    """The budgets of a run for failures."""

    worker_restarts: Annotated[int, Strict(), Field(ge=-1, le=LARGEST_COUNT)] = Field(
        default=3,
        description="Restarts from a checkpoint after the loss of a worker; -1 is without limit.",
    )
