"""What every step owes, whoever trains it: seed, count, report, checkpoint, request to stop."""

import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import chain

import torch
import torch.distributed as dist

from orchestrator.data.feed import Feed, LocalBatch
from orchestrator.errors import JobFailedError
from orchestrator.ledger.recorder import RowRecorder
from orchestrator.plan.job import JobPlan
from orchestrator.train.first_rank import FirstRank
from orchestrator.train.outcome import StepOutcome
from orchestrator.train.rank_saves import RankSaves
from orchestrator.train.recent_losses import RecentLosses
from orchestrator.train.row_ledger import records_of_ranks
from orchestrator.train.save_moments import SaveMoments
from orchestrator.train.skips import Skips
from orchestrator.train.state import TrainState
from orchestrator.train.stepper import seed_everything
from orchestrator.train.stop import StopRequested
from orchestrator.train.totals import check_same_names
from orchestrator.train.user_code import MisuseError
from orchestrator.train.waiting import WaitingForData


class Bookkeeping:
    """Hands out the batches, from the state's step to the plan's last one, and keeps the books.

    A step goes through three calls: `batches` gives its batch, `trained` counts and reports it, and
    what follows belongs to it (a validation, say) until the next batch is asked for or `finish` is
    called: then it is saved if it is time. All ranks make the same calls in the same order.

    Args:
        feed: where the batches come from, asked for its waiting time only.
        learning_rate: that of the step that was trained last.
        first_rank: given to the first rank alone.
        ledger: this rank's recorder; None where the run keeps no ledger.
        skips: the steps that `left_out` leaves out, by their place in the order.
    """

    def __init__(
        self,
        plan: JobPlan,
        state: TrainState,
        batches: Iterator[LocalBatch],
        feed: Feed,
        *,
        learning_rate: Callable[[], float],
        first_rank: FirstRank | None,
        ledger: RowRecorder | None = None,
        skips: Collection[int] = (),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._plan = plan
        self._state = state
        self._batches = batches
        self._feed = feed
        self._learning_rate = learning_rate
        self._first_rank = first_rank
        self._ledger = ledger
        self._skips = Skips(skips, plan.train.geometry)
        self._moments = SaveMoments(plan, first_rank)
        self._saves = RankSaves(state, first_rank, relaxed=plan.train.relaxed)
        # Whether the unfinished step can be saved: the first rank has what the others trained.
        self._may_save = False
        self._clock = clock
        self._losses = RecentLosses(plan.train.index)
        self._in_hand: LocalBatch | None = None
        self._unfinished: LocalBatch | None = None
        self._scores: Mapping[str, float] = {}
        self._names: tuple[str, ...] | None = None
        # Time, rows and waiting since the last report. Validations and saves do not count: the
        # first rank's clock tells, as the others wait in their next step while it saves.
        self._began = clock()
        self._training_s = 0.0
        self._waited = 0.0
        self._reported_rows = 0

    @property
    def unfinished(self) -> LocalBatch | None:
        """The batch of a step that was trained and is not finished yet."""
        return self._unfinished

    def telling_of_waits(self) -> AbstractContextManager[object]:
        """Around all of the training: tells when it waits for data for long."""
        if self._first_rank is None:
            return nullcontext()
        return WaitingForData(self._feed, self._first_rank.recorder)

    def batches(self) -> Iterator[LocalBatch]:
        """The batches that are left; asking for the next one finishes the step before."""
        if self._names is None and self._in_hand is None:
            self._wait_for_start()
        while True:
            self.finish()
            if self._state.step == self._plan.total_steps:
                return
            self._began = self._clock()
            batch = next(self._batches, None)
            if batch is None:
                raise JobFailedError(
                    f"the stream ended after step {self._state.step} of {self._plan.total_steps}"
                )
            seed_everything(self._plan.spec.seed, self._state.step, batch.lane)
            self._in_hand = batch
            yield batch

    def trained(
        self, outcome: StepOutcome, *, more: Callable[[], Mapping[str, float]] = dict
    ) -> None:
        """Counts the step in hand, and reports if it is time.

        Args:
            more: numbers for the report, beside the means since the last one; asked if it is made.

        Raises:
            JobFailedError: the loss is not a number any more.
        """
        batch, self._in_hand = self._in_hand, None
        if batch is None:
            raise MisuseError("a step is done that has no batch; wanted one call for each batch")
        state = self._state
        if self._names is None:
            self._names = outcome.totals.names
            check_same_names(self._names)
        if self._ledger is not None:
            self._ledger.add(batch, step=state.step)
        state.step += 1
        totals, wishes = outcome.totals.over_ranks_with(self._moments.wish(state.step))
        self._moments.told(wishes)
        state.rows += batch.global_rows
        state.open_epoch = batch.open_epoch
        state.interval = totals if state.interval is None else state.interval.plus(totals)
        place = self._skips.place(batch)
        self._skips.trained(place)
        self._losses.add(
            batch.rows, outcome.losses, step=state.step, epoch=batch.epoch, place=place
        )
        self._training_s += self._clock() - self._began
        self._count(batch, more)

    def left_out(self) -> bool:
        """Counts the batch in hand without training it, if a rewind has told so.

        Raises:
            NotFiniteError: it is not this step that spoils the training, but the one before.
        """
        batch, state = self._in_hand, self._state
        if batch is None or not self._skips.leave_out(batch, state):
            return False
        self._in_hand = None
        if self._ledger is not None:
            self._ledger.add(batch, step=state.step)
        if (first := self._first_rank) is not None:
            first.saver.skipped(state.step)
            step, rows = state.step + 1, batch.global_rows
            first.recorder.skipped(step=step, epoch=batch.epoch, rows=rows)
        state.step += 1
        state.open_epoch = batch.open_epoch
        self._count(batch, dict)
        return True

    def _count(self, batch: LocalBatch, more: Callable[[], Mapping[str, float]]) -> None:
        """Reports, if it is time, and makes ready for a save."""
        state = self._state
        last = state.step == self._plan.total_steps
        due = last or state.step % self._plan.spec.training.report_every == 0
        # There is nothing to report where every step since the last report was left out.
        if due and state.interval is not None:
            self._report(batch.epoch, more)
        self._may_save = False
        if self._moments.may_save(state.step):
            # Not later: a validation may fail on some ranks only, and these wait for nobody.
            self._bring_records()
        self._unfinished = batch

    def validated(self, scores: Mapping[str, float], *, rows: int, seconds: float) -> None:
        """Records what a validation after the unfinished step found."""
        batch, self._scores = self._unfinished, scores
        if batch is not None and self._first_rank is not None:
            self._first_rank.recorder.validation(
                epoch=batch.epoch,
                step=self._state.step,
                rows=rows,
                means=scores,
                seconds=seconds,
            )

    def finish(self) -> None:
        """Ends the step: saves if it is time, and heeds a request to stop.

        What was saved last is waited for, at the end and at a stop. An error of an earlier save,
        which went on behind the training, comes out here.
        """
        if self._in_hand is not None:
            raise MisuseError("the next batch is asked for before step_done() for the one in hand")
        if self._unfinished is None:
            return
        scores, may_save, step = self._scores, self._may_save, self._state.step
        self._saves.check()
        self._save_if_due()
        if step == self._plan.total_steps:
            self._saves.wait()
            return
        if not may_save or not self._saves.agreed(wanted=self._moments.stop_wanted):
            return
        self._saves.now(scores)
        self._saves.wait()
        if self._first_rank is not None:
            self._first_rank.recorder.stopped(step=step)
            raise StopRequested(
                f"stopped as requested after step {step} of {self._plan.total_steps}"
            )

    def rescue(self) -> None:
        """Saves, if it is time, what was trained before something else failed.

        But a run is not finished by a last step whose validation failed.
        """
        # A rank may be alone in this; the pieces of a sharded state are of no use without others'.
        together = self._saves.alone and self._state.step < self._plan.total_steps
        if self._unfinished is not None and together:
            self._save_if_due()

    def save(self) -> None:
        """Begins to save the unfinished step now; all ranks have to call it."""
        if self._unfinished is None:
            raise MisuseError("save() is for a step that was just done: call it after step_done()")
        if not self._may_save:
            self._bring_records()
        self._saves.now(self._scores)

    def _wait_for_start(self) -> None:
        """Waits for the first batch: that the stream has to start is no part of the pace."""
        first = next(self._batches, None)
        self._batches = chain([first] if first is not None else [], self._batches)
        self._waited = self._feed.wait_s
        # Not before: the state may have been loaded since this was made.
        self._reported_rows = self._state.rows
        if self._first_rank is not None:
            self._first_rank.recorder.training_started(step=self._state.step)

    def _bring_records(self) -> None:
        """Gives the first rank what this one trained, so that the step can be saved."""
        self._may_save = True
        if self._ledger is None:
            return
        found = records_of_ranks(self._ledger.take())
        if self._first_rank is not None:
            self._first_rank.saver.hold(found)

    def _save_if_due(self) -> None:
        batch, self._unfinished = self._unfinished, None
        scores, self._scores = self._scores, {}
        if batch is not None and self._may_save:
            finished = batch.step + 1 == self._plan.train.geometry.steps_per_epoch
            self._saves.if_due(epoch_finished=finished, metrics=scores)

    def _report(self, epoch: int, more: Callable[[], Mapping[str, float]]) -> None:
        state = self._state
        assert state.interval is not None  # a step has just been added to it
        means = state.interval.means()
        if not math.isfinite(means["loss"]):
            raise self._losses.explain(means["loss"], step=state.step, epoch=epoch)
        self._losses.forget()
        state.interval = None
        waited, self._waited = self._feed.wait_s - self._waited, self._feed.wait_s
        longest_wait = _largest(waited)
        train_s, self._training_s = max(self._training_s, 1e-9), 0.0
        rows, self._reported_rows = state.rows - self._reported_rows, state.rows
        if self._first_rank is not None:
            self._first_rank.recorder.training(
                epoch=epoch,
                step=state.step,
                rows=state.rows,
                lr=self._learning_rate(),
                means={**means, **more()},
                rows_per_s=rows / train_s,
                wait_share=min(1.0, longest_wait / train_s),
            )


def _largest(value: float) -> float:
    """The largest of all ranks' values: all wait for the one that waits longest for its data."""
    tensor = torch.tensor(value, dtype=torch.float64)
    if dist.is_initialized() and dist.get_world_size() > 1:
        if dist.get_backend() == "nccl":
            tensor = tensor.cuda()
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
    return float(tensor)
