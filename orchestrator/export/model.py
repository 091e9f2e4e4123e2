"""The model of an exported run as a module of torch."""

from pathlib import Path

from safetensors.torch import load_file
from torch import nn

from orchestrator.errors import CheckpointError, PlanError
from orchestrator.spec.job import JobSpec
from orchestrator.train.user_task import load_task


def load_model(spec: JobSpec, weights: Path) -> nn.Module:
    """The model of a spec's task with these weights, in evaluation mode.

    Raises:
        PlanError: the spec has a loop and no task.
        SpecError, CheckpointError: the task cannot be made, or its model has other weights.
    """
    training = spec.training
    if training.task is None:
        raise PlanError(
            f"the run was trained by the loop {training.loop}, which alone knows its model",
            hint="the weights are there: build the model, and give it to its load_state_dict",
        )
    model = load_task(training.task, training.with_, Path(spec.runtime.working_dir)).build_model()
    try:
        model.load_state_dict(load_file(weights))
    except RuntimeError as error:
        raise CheckpointError(
            f"{weights} does not fit the model of {training.task}: {error}",
            hint="the code or its parameters changed since the run",
        ) from error
    return model.eval()
