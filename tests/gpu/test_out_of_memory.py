"""A device that really has too little memory for a batch trains it in smaller pieces."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from orchestrator.data.codec import Columns
from orchestrator.spec.training import Constant, Sgd
from orchestrator.train.optimizer import ScheduledOptimizer
from orchestrator.train.state import TrainState
from orchestrator.train.stepper import Stepper
from orchestrator.train.strategy import DdpStrategy
from orchestrator.train.task import TrainTask
from tests.support.scarce import scarce_stepper
from tests.support.training import geometry, share

MIB = 1 << 20
ROWS, LIMIT_BYTES = 64, 512 * MIB


class HungryTask(TrainTask):
    """Takes 64 MiB and more of activations a row: 64 rows do not fit into 512 MiB, and 4 do."""

    def build_model(self) -> nn.Module:
        torch.manual_seed(1)
        return nn.Linear(1, 1)

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        wide = batch["x"].expand(-1, 8 * MIB) * model(batch["x"])
        return wide.sin().square().mean(dim=1)


def ramp(ids: NDArray[np.int64]) -> Columns:
    return {"x": ids.astype(np.float32).reshape(-1, 1) / ROWS}


def make(device: torch.device) -> tuple[TrainState, Stepper]:
    task = HungryTask()
    strategy = DdpStrategy(task.build_model(), device, retries=True)
    optimizer = ScheduledOptimizer(
        task.build_optimizer(strategy.model, Sgd(lr=0.1)), Constant(), total_steps=10
    )
    state = TrainState(device=device, parts={"model": strategy, "optimizer": optimizer})
    return state, scarce_stepper(task, state, strategy)  # type: ignore[arg-type] # any task does


def test_a_batch_that_does_not_fit_is_trained_in_pieces_that_do() -> None:
    device = torch.device("cuda", torch.cuda.current_device())
    batch = share(geometry(rows=ROWS, batch=ROWS), 0, columns=ramp)
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(LIMIT_BYTES / total, device)
    try:
        scarce, stepper = make(device)
        losses = stepper.step(batch, 0).losses.values
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
    assert scarce.safe_size is not None
    assert scarce.safe_size.rows < ROWS
    # On the CPU there is room for all rows at once.
    whole, wholly = make(torch.device("cpu"))
    torch.testing.assert_close(losses.cpu(), wholly.step(batch, 0).losses.values)
    weights = scarce.parts["model"].state()
    for name, weight in whole.parts["model"].state().items():
        torch.testing.assert_close(weights[name].cpu(), weight)
