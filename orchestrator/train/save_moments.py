"""Which steps may be saved: known to all ranks before any of them begins the next step."""

from collections import deque

import torch
from torch import Tensor

from orchestrator.checkpoint.policy import SaveMoment, save_policy
from orchestrator.plan.job import JobPlan
from orchestrator.train.first_rank import FirstRank


class SaveMoments:
    """After which steps the ranks bring the first one what goes into a checkpoint.

    Steps, epochs, validations and the end are the same for all. A time that is up, or a request to
    stop, is seen by the first rank alone: it tells the others by a number among the sums of a step,
    which all of them look at one step later, when a GPU has long had it ready.

    Attributes:
        stop_wanted: whether a request to stop has been seen; on the first rank.
    """

    def __init__(self, plan: JobPlan, first_rank: FirstRank | None) -> None:
        self._plan = plan
        self._policy = save_policy(plan.spec.checkpoint.every)
        self._first_rank = first_rank
        self._told: deque[_Told] = deque()
        self.stop_wanted = False

    def wish(self, step: int) -> float:
        """What this rank adds to the sums of a step that is done: above 0 to ask for a save."""
        first = self._first_rank
        if first is None:
            return 0.0
        self.stop_wanted = self.stop_wanted or first.stop.made()
        overdue = not self._certain(step) and first.saver.overdue(step)
        return float(self.stop_wanted or overdue)

    def told(self, wishes: Tensor) -> None:
        """Takes the sum of a step's wishes over all ranks, which may not be computed yet."""
        self._told.append(_Told(wishes))

    def may_save(self, step: int) -> bool:
        """Whether this step, the newest that `told` was called for, may be saved; on all ranks."""
        asked = len(self._told) > 1 and self._told.popleft().number() > 0
        return asked or self._certain(step)

    def _certain(self, step: int) -> bool:
        """Whether a save may be due whatever the time."""
        plan = self._plan
        cursor = plan.train.geometry.cursor(step)
        moment = SaveMoment(
            step=step,
            epoch_finished=cursor.step == 0,
            epochs_finished=cursor.epoch,
            seconds_since_save=0.0,
            last=step == plan.total_steps,
        )
        best = plan.spec.checkpoint.best is not None and plan.validation_due(step)
        return best or self._policy.should_save(moment)


class _Told:
    """A number on its way from the device; reading it waits for that number alone."""

    def __init__(self, value: Tensor) -> None:
        self._value = value
        self._arrived: torch.cuda.Event | None = None
        if value.is_cuda:
            self._value = torch.empty((), dtype=value.dtype, pin_memory=True)
            self._value.copy_(value, non_blocking=True)
            self._arrived = torch.cuda.Event()
            self._arrived.record()

    def number(self) -> float:
        if self._arrived is not None:
            self._arrived.synchronize()
        return float(self._value)
