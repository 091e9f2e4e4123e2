"""A step that runs out of the device's memory is tried again in smaller pieces, by all ranks."""

import gc
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist

from orchestrator.data.feed import LocalBatch
from orchestrator.errors import DeviceMemoryError
from orchestrator.train.outcome import StepOutcome
from orchestrator.train.recorder import Recorder
from orchestrator.train.state import SafeSize, TrainState
from orchestrator.train.stepper import seed_everything, world
from orchestrator.train.strategy import Strategy

_HINT = (
    "a smaller training.global_batch_size, more workers, shorter rows or a smaller model need less"
)


@dataclass(frozen=True, slots=True)
class _Shortage:
    """That memory ran out on a rank, which had pieces of so many rows; 0 where it did not."""

    rows: int
    rank: int
    cause: str = ""


class MemoryRetries:
    """Halves the micro-batches of a step for which memory does not suffice, until it does.

    All ranks agree after each try, by a number that travels between their hosts: no device is
    waited for. What fits is kept in the state, and so in each checkpoint, until the spec asks for
    another size.

    Args:
        asked: training.micro_batch_size.
        retries: how often one step may be tried again.
        recorder: given to the first rank alone.
    """

    def __init__(
        self,
        strategy: Strategy,
        state: TrainState,
        *,
        asked: int | None,
        retries: int,
        seed: int,
        recorder: Recorder | None = None,
    ) -> None:
        self._strategy = strategy
        self._state = state
        self._asked = asked
        self._retries = retries if strategy.can_retry else 0
        self._seed = seed
        self._recorder = recorder
        # NCCL's tensors are on the device, and reading one waits for all that was asked of it.
        nccl = strategy.world_size > 1 and dist.get_backend() == "nccl"
        self._hosts = dist.new_group(backend="gloo") if nccl else None

    @property
    def size(self) -> int | None:
        """The most rows of a piece that are known to fit; None takes all at once."""
        safe = self._state.safe_size
        if safe is None or safe.asked != self._asked:
            return self._asked
        return safe.rows

    def run(self, once: Callable[[], StepOutcome], batch: LocalBatch, number: int) -> StepOutcome:
        """What the passes of a step gave on this rank, once all ranks have got through them.

        Args:
            once: makes them in pieces of `size` rows.
            number: of the step, counted from 0 through the run.

        Raises:
            DeviceMemoryError: memory does not suffice for single rows, or ran out too often.
        """
        tries = 0
        while True:
            outcome, own = self._try(once, batch)
            shortage = self._agree(own)
            if outcome is not None and shortage is None:
                return outcome
            assert shortage is not None  # the agreement has this rank's own in it
            # Not kept while the others are made: they are as large as the step itself.
            outcome = None
            self._strategy.undo_step()
            if shortage.rows == 1 or tries == self._retries:
                raise self._error(shortage, number, tries)
            tries += 1
            self._shrink(shortage, number)
            # As in a first try: what a step draws does not depend on what went before.
            seed_everything(self._seed, number, batch.lane)

    def _try(
        self, once: Callable[[], StepOutcome], batch: LocalBatch
    ) -> tuple[StepOutcome | None, _Shortage]:
        rank, _ = world()
        found: StepOutcome | None = None
        outcome, own = found, _Shortage(0, rank)
        self._strategy.begin_step()
        try:
            found = once()
            self._strategy.end_step()
            outcome = found
        except torch.OutOfMemoryError as error:
            cause = (str(error).splitlines() or [type(error).__name__])[0]
            own = _Shortage(_largest_piece(batch, self.size), rank, cause)
        if outcome is None:
            if not self._strategy.can_retry:
                raise self._error(own, self._state.step, 0)
            # Only here has the error let go of the pass that raised it, and of its memory.
            found = None
            self._strategy.undo_step()
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self._strategy.end_step()
        return outcome, own

    def _agree(self, own: _Shortage) -> _Shortage | None:
        """The worst shortage of all ranks; None where memory sufficed everywhere."""
        if self._strategy.world_size == 1 or not self._strategy.can_retry:
            return own if own.rows else None
        worst = torch.tensor(own.rows)
        dist.all_reduce(worst, op=dist.ReduceOp.MAX, group=self._hosts)
        if not int(worst):
            return None
        every: list[_Shortage] = [own] * self._strategy.world_size
        dist.all_gather_object(every, own, group=self._hosts)
        return max(every, key=lambda shortage: shortage.rows)

    def _shrink(self, shortage: _Shortage, number: int) -> None:
        rows = shortage.rows // 2
        self._state.safe_size = SafeSize(asked=self._asked, rows=rows)
        if self._recorder is not None:
            self._recorder.out_of_memory(
                step=number + 1,
                rank=shortage.rank,
                rows=shortage.rows,
                micro_batch_size=rows,
                cause=shortage.cause,
            )

    def _error(self, shortage: _Shortage, number: int, tries: int) -> DeviceMemoryError:
        rows = "1 row" if shortage.rows == 1 else f"{shortage.rows} rows"
        text = (
            f"the memory of worker {shortage.rank}'s device does not suffice for {rows} at a time"
            f" in step {number + 1}"
        )
        if tries and shortage.rows > 1:
            text += f", and training.oom_retries ({self._retries}) is used up"
        return DeviceMemoryError(f"{text}: {shortage.cause}", hint=_HINT)


def _largest_piece(batch: LocalBatch, size: int | None) -> int:
    """Rows of the largest micro-batch that a rank's share is cut into."""
    rows = max(1, *map(len, batch.columns.values()), 1)
    return rows if size is None else -(-rows // -(-rows // size))
