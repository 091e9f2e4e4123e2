"""A rank's pulse: a thread beside the training that writes down how far the rank has come.

Nothing is done for it in a step: the thread looks at numbers that are there anyway. What it writes
is a small file in the run directory, which the driver looks at (run/hang_watch.py).
"""

import faulthandler
import os
import signal
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import psutil
import ray
import torch.distributed as dist
from torch.distributed import distributed_c10d

from orchestrator.train.beat import Beat, beat_path, beats_folder, pulse_period, stack_path
from orchestrator.train.config import WorkerConfig

# On it a rank writes the Python stacks of all its threads, and goes on. Signals for users are not
# free: Slurm and Java virtual machines have uses for them. macOS has no others.
DUMP_SIGNAL = signal.SIGRTMAX - 3 if hasattr(signal, "SIGRTMAX") else signal.SIGUSR2


class Stepping(Protocol):
    """What knows the steps that are done."""

    @property
    def step(self) -> int: ...


class Giving(Protocol):
    """What knows how many validation batches it has given."""

    @property
    def given(self) -> int: ...


def collectives_begun() -> int:
    """The collectives that this rank has begun: with a neighbour that has begun more, it is behind.

    DDP's own count, too, though no Python of ours sees them.
    """
    if not dist.is_initialized():
        return 0
    # A copy, as groups come and go. Not every backend counts.
    total = 0
    for group in list(distributed_c10d._world.pg_map):
        with suppress(RuntimeError):
            total += group._get_sequence_number_for_group()  # type: ignore[attr-defined] # compiled
    return total


class Pulse:
    """Around all that a rank does; to be made and entered in the thread that trains.

    Attributes:
        passes: the validation passes, once there are any.
    """

    def __init__(
        self,
        folder: Path,
        state: Stepping,
        *,
        rank: int,
        workers: int,
        node: str,
        period_s: float,
        collectives: Callable[[], int] = collectives_begun,
    ) -> None:
        self._folder = folder
        self._state = state
        self._rank = rank
        self._workers = workers
        self._node = node
        self._period_s = period_s
        self._collectives = collectives
        self._trains = threading.get_ident()
        # Against the boot: a wall clock may be set while the process runs.
        self._birth = psutil.Process().create_time() - psutil.boot_time()
        self._count = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)
        self.passes: Giving | None = None

    def beat(self, *, ended: bool = False) -> None:
        """Writes down where the rank is; a storage that fails for a moment is no matter."""
        self._count += 1
        beat = Beat(
            rank=self._rank,
            workers=self._workers,
            node=self._node,
            pid=os.getpid(),
            birth=self._birth,
            thread=self._trains,
            count=self._count,
            step=self._state.step,
            collectives=self._collectives(),
            validated=self.passes.given if self.passes is not None else 0,
            ended=ended,
        )
        with suppress(OSError):
            # In place, which a full disk does not hinder, and opened anew, so that a network's
            # file system passes it on.
            file = os.open(beat_path(self._folder, self._rank), os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.pwrite(file, beat.to_bytes(), 0)
            finally:
                os.close(file)

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._stacks = stack_path(self._folder, self._rank).open("ab", buffering=0)
        # Written by the signal's handler itself: it needs neither Python's lock nor a free thread.
        faulthandler.register(DUMP_SIGNAL, file=self._stacks, all_threads=True)
        self.beat()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        self.beat(ended=True)
        # From here on the signal would end the process: nobody sends it to a rank that has ended.
        faulthandler.unregister(DUMP_SIGNAL)
        self._stacks.close()

    def _run(self) -> None:
        while not self._ended.wait(self._period_s):
            self.beat()


def open_pulse(
    config: WorkerConfig, state: Stepping, *, rank: int, workers: int
) -> AbstractContextManager[Pulse | None]:
    """The pulse of this rank; none where no hang is looked for."""
    limit_s = config.plan.spec.failure.hang_timeout
    if limit_s == "off":
        return nullcontext()
    return Pulse(
        beats_folder(config.run_dir, config.attempt),
        state,
        rank=rank,
        workers=workers,
        node=ray.get_runtime_context().get_node_id(),
        period_s=pulse_period(limit_s),
    )
