"""A task that writes down what it trains, and what can be told from that, without our own records.

The ids of each batch come from the data themselves, and where the ids of a step belong follows from
the files attempts/N.json alone. Nothing here asks the plan, the checkpoints or the ledger.
"""

import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import ray.train
from torch import Tensor, nn

from tests.support.task import SmallTask

Batches = dict[int, list[int]]


class WitnessTask(SmallTask):
    """Appends the ids of each step's rows to a file of this attempt and rank, a line a step."""

    def __init__(self, log: str, dropout: float = 0.1, step_s: float = 0.0) -> None:
        super().__init__(dropout=dropout, step_s=step_s)
        self._folder = Path(log)

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        if model.training:
            context = ray.train.get_context()
            # Ray's name of an attempt is ours: attempt-1.
            name = f"{context.get_experiment_name()}-rank-{context.get_world_rank()}"
            # Closed before the step is made: from then on no kill takes it back.
            with (self._folder / name).open("a") as file:
                file.write(f"{json.dumps(batch['id'].tolist())}\n")
        return super().loss(model, batch)


@dataclass(frozen=True, kw_only=True)
class Witness:
    """What was trained in a run, as its workers wrote it down.

    Args:
        log: the folder of the task's files.
        run_dir: of the run.
    """

    log: Path
    run_dir: Path

    @cached_property
    def trained(self) -> dict[int, Batches]:
        """The global batch of each step that an attempt has begun, by attempt and step.

        The last ones, which not all ranks have begun, are left out.
        """
        return {number: self._batches(number) for number in self._attempts}

    @cached_property
    def effective(self) -> Batches:
        """The global batch of each step that counts, by the line of parents."""
        batches: Batches = {}
        number: int | None = max(self._attempts)
        end = math.inf
        while number is not None:
            first = self._attempts[number]["step"] or 0
            batches |= {step: ids for step, ids in self.trained[number].items() if step < end}
            number, end = self._attempts[number]["parent"], first
        return dict(sorted(batches.items()))

    @cached_property
    def _attempts(self) -> dict[int, dict[str, int | None]]:
        records = [json.loads(path.read_text()) for path in self.run_dir.glob("attempts/*.json")]
        return {
            record["number"]: {name: record[name] for name in ("step", "parent", "workers")}
            for record in records
        }

    def _batches(self, number: int) -> Batches:
        first, workers = self._attempts[number]["step"] or 0, self._attempts[number]["workers"] or 0
        ranks = [self._lines(self.log / f"attempt-{number}-rank-{rank}") for rank in range(workers)]
        whole = min(len(lines) for lines in ranks)
        return {
            first + index: [row for lines in ranks for row in lines[index]]
            for index in range(whole)
        }

    @staticmethod
    def _lines(path: Path) -> list[list[int]]:
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
