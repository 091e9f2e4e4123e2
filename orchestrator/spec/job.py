"""The whole job, and what its sections must agree on."""

from collections.abc import Mapping
from typing import Self

from pydantic import Field, PrivateAttr, model_validator

from orchestrator.spec.base import SpecModel, Whole, problem
from orchestrator.spec.checkpoint import CheckpointSpec
from orchestrator.spec.dataset import DatasetSpec
from orchestrator.spec.failure import FailureSpec
from orchestrator.spec.runtime import RuntimeSpec
from orchestrator.spec.scaling import ScalingSpec
from orchestrator.spec.training import TrainingSpec
from orchestrator.spec.transform import TransformItem
from orchestrator.units import Name

# How far away a better number of lanes is looked for.
_REACH = 1000


class JobSpec(SpecModel):
    """What a user asks for: data, preprocessing, training and the means for them."""

    name: Name = Field(description="Name of the run; same name and same storage resume it.")
    seed: Whole = Field(default=0, description="Seed of every random choice in the job.")
    dataset: DatasetSpec = Field(description="What is read and in which order.")
    transforms: tuple[TransformItem, ...] = Field(
        default=(), description="Steps of preprocessing, in order."
    )
    training: TrainingSpec = Field(description="How the model is trained.")
    scaling: ScalingSpec = Field(
        default_factory=ScalingSpec, description="Workers of training and preprocessing."
    )
    checkpoint: CheckpointSpec = Field(
        default_factory=CheckpointSpec, description="When checkpoints are made, and which are kept."
    )
    failure: FailureSpec = Field(
        default_factory=FailureSpec, description="How many failures a run survives."
    )
    runtime: RuntimeSpec = Field(default_factory=RuntimeSpec, description="Where the job runs.")
    _variables: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def variables(self) -> Mapping[str, str]:
        """The variables of the environment that the spec passes on, which nobody is to read."""
        return self._variables

    def with_variables(self, variables: Mapping[str, str]) -> Self:
        """The spec that remembers which variables its texts were made with."""
        remembering = self.model_copy()
        remembering._variables = dict(variables)
        return remembering

    @model_validator(mode="after")
    def _lanes_divide_batch(self) -> Self:
        lanes, batch = self.scaling.lanes, self.training.global_batch_size
        if lanes != "auto" and batch % lanes != 0:
            raise problem(
                f"lanes ({lanes}) must divide training.global_batch_size ({batch});"
                f" {_divisors_near(lanes, batch)}",
                at="scaling.lanes",
            )
        return self


def _divisors_near(lanes: int, batch: int) -> str:
    """The nearest numbers of lanes that a batch can be cut into."""
    first = min(lanes - 1, batch)
    below = range(first, max(0, first - _REACH), -1)
    above = range(lanes + 1, min(lanes + _REACH, batch))
    near = {
        next((number for number in below if batch % number == 0), 1),
        next((number for number in above if batch % number == 0), batch),
    }
    return f"{' and '.join(map(str, sorted(near)))} {'do' if len(near) > 1 else 'does'}"
