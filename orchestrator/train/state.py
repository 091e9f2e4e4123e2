"""Everything that a restart must bring back, as one file of a checkpoint."""

import io
import math
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, cast

import torch
from torch import Tensor

from orchestrator.checkpoint.files import storage_errors
from orchestrator.errors import CheckpointError
from orchestrator.train.optimizer import ScheduledOptimizer
from orchestrator.train.strategy import DdpStrategy, ModelState
from orchestrator.train.totals import Totals

STATE_FILE = "state.pt"


class _Stored(TypedDict):
    model: ModelState
    optimizer: dict[str, Any]
    step: int
    rows: int
    interval_names: list[str]
    interval_sums: Tensor


@dataclass(kw_only=True, slots=True)
class TrainState:
    """The state of a run after `step` steps.

    There is no state of random generators: every step seeds them from (seed, step, lane), so the
    seed and the step are all of it. The schedule, too, is a function of the step. `interval` holds
    the sums since the last report, so that the report after a restart is that of an undisturbed
    run.
    """

    strategy: DdpStrategy
    optimizer: ScheduledOptimizer
    step: int = 0
    rows: int = 0
    interval: Totals | None = None

    def write(self, directory: Path) -> None:
        """Writes the state into a checkpoint's directory."""
        interval = self.interval
        stored: _Stored = {
            "model": self.strategy.state(),
            "optimizer": self.optimizer.optimizer.state_dict(),
            "step": self.step,
            "rows": self.rows,
            "interval_names": list(interval.names) if interval else [],
            "interval_sums": interval.sums.cpu() if interval else torch.zeros(0),
        }
        # Through memory, so that a full disk is an OSError of ours and not torch's own.
        buffer = io.BytesIO()
        torch.save(stored, buffer)
        (directory / STATE_FILE).write_bytes(buffer.getbuffer())

    def not_finite(self) -> str | None:
        """The name of a value that has become infinite or not a number, if there is one.

        A step can spoil the weights while its own loss is still finite. Buffers are not looked at:
        an infinity in one may well be meant.
        """
        if self.interval and not math.isfinite(self.interval.means()["loss"]):
            return "the loss"
        for name, weight in self.strategy.model.named_parameters():
            if weight.requires_grad and not bool(weight.detach().isfinite().all()):
                return f"the weight {name}"
        return None

    def read(self, directory: Path) -> None:
        """Loads the state from a checkpoint whose files have been verified.

        Raises:
            CheckpointError: it is no state, or belongs to another model or optimizer.
        """
        path = directory / STATE_FILE
        stored = _read_stored(path)
        try:
            self.strategy.load(stored["model"])
            self.optimizer.load(stored["optimizer"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise CheckpointError(
                f"{path} does not fit the model or the optimizer of the task: {error}",
                hint="the task's code or parameters changed since the checkpoint was written",
            ) from error
        self.step, self.rows = stored["step"], stored["rows"]
        device = next(iter(self.strategy.model.parameters())).device
        names = tuple(stored["interval_names"])
        sums = stored["interval_sums"].to(device)
        self.interval = Totals(names=names, sums=sums) if names else None


def _read_stored(path: Path) -> _Stored:
    try:
        with storage_errors("read", path):
            # weights_only: a checkpoint is data, and must not be able to run code.
            stored = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        (first, *_) = str(error).splitlines() or [""]
        raise CheckpointError(f"{path} holds no state of a run: {first}") from error
    if not isinstance(stored, dict) or (missing := _Stored.__required_keys__ - stored.keys()):
        what = f"lacks {', '.join(sorted(missing))}" if isinstance(stored, dict) else "is no dict"
        raise CheckpointError(f"{path} holds no state of a run: it {what}")
    return cast("_Stored", stored)
