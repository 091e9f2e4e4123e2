"""The proof that each epoch has each row exactly once, from the files of a run alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orchestrator.checkpoint.attempts import Attempt, AttemptLog
from orchestrator.ledger.chain import Chain, Chunk, read_chain
from orchestrator.ledger.coverage import Coverage, add_positions, wanted_uses
from orchestrator.ledger.passes import Passes, SourceAccount
from orchestrator.ledger.presence import Presence, Repeats
from orchestrator.ledger.problem import Problem
from orchestrator.ledger.quarantine import unlisted
from orchestrator.ledger.replay import Record, Replay, plain_records
from orchestrator.ledger.run_order import RunOrder, read_order
from orchestrator.plan.origins import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochAccount:
    """What became of the rows of an epoch, of which `steps` of `of_steps` steps are done.

    A row counts once, however many samples it gives: as used if all of these were trained, as
    missing if one was not, as repeated if one was trained too often. One that is quarantined was
    found to be bad before training, one that is filtered is dropped by the transforms. Of several
    sources, a row is expected where its source comes to it, and as often as that does. While the
    epoch goes on, `used` are the rows trained so far, and none is missing that is still to come.
    `skipped` are the rows of steps that a rewind left out; they are accounted for, and not used.
    """

    epoch: int
    steps: int
    of_steps: int
    expected: int
    used: int
    filtered: int
    missing: int
    repeated: int
    quarantined: int = 0
    skipped: int = 0

    @property
    def finished(self) -> bool:
        return self.steps == self.of_steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What the files of a run prove; `sources` is empty where only one is trained on."""

    run: RunOrder
    chain: Chain
    attempts: tuple[Attempt, ...]
    epochs: tuple[EpochAccount, ...]
    sources: tuple[SourceAccount, ...]
    problems: tuple[Problem, ...]


def audit_run(run_dir: Path) -> Audit:
    """Holds the ledger of a run against its order.

    Raises:
        LedgerError: a file of the ledger is missing, torn or edited.
        CheckpointError: the storage, or an attempt's record, cannot be read.
    """
    run, chain = read_order(run_dir), read_chain(run_dir)
    attempts = tuple(AttemptLog(run_dir / "attempts").all())
    proof = _Proof(run, chain)
    problems = [
        *_lost(chain),
        *_strange_chunks(chain, attempts),
        *unlisted(run, run_dir),
        *proof.problems(),
    ]
    return Audit(
        run=run,
        chain=chain,
        attempts=attempts,
        epochs=tuple(proof.accounts),
        sources=proof.passes.accounts() if proof.passes else (),
        problems=tuple(problems),
    )


def _lost(chain: Chain) -> Iterator[Problem]:
    """Steps that were saved once, and cannot be shown any more."""
    if chain.lost:
        yield Problem(
            message="no checkpoint is left that verifies, so that no step counts; there are"
            f" {', '.join(chain.lost)}"
        )


def _strange_chunks(chain: Chain, attempts: Sequence[Attempt]) -> Iterator[Problem]:
    """Chunks that do not go with the attempts of the run."""
    known = {attempt.number: attempt for attempt in attempts}
    newest = 0
    for chunk in chain.effective:
        header = chunk.header
        attempt = known.get(header.attempt)
        steps = (header.first_step, header.last_step)
        if attempt is None:
            yield Problem(message=f"{chunk.shown} is of an attempt that never began", steps=steps)
        elif attempt.workers != header.workers:
            yield Problem(
                message=f"{chunk.shown} has the records of {header.workers} workers, but attempt"
                f" {attempt.number} had {attempt.workers}",
                steps=steps,
            )
        if header.attempt < newest:
            message = f"{chunk.shown} follows a chunk of the later attempt {newest}"
            yield Problem(message=message, steps=steps)
        newest = max(newest, header.attempt)


class _Proof:
    """Counts, epoch by epoch, what the chunks prove to have been trained."""

    def __init__(self, run: RunOrder, chain: Chain) -> None:
        self._run = run
        self._chain = chain
        self._open: dict[int, Coverage] = {}
        self._skipped: dict[int, Coverage] = {}
        self._repeats = Repeats(run.steps_per_epoch)
        # Without the first epochs nobody can say how often a row of a source was used.
        counted = run.description.mixture is not None and chain.begin == 0
        self.passes = Passes(run) if counted else None
        self.accounts: list[EpochAccount] = []
        # Of an epoch that was begun before the ledger there is no balance.
        self._next = -(-chain.begin // run.steps_per_epoch)

    def problems(self) -> Iterator[Problem]:
        """Everything that is wrong; afterwards `accounts` has all epochs that can have one."""
        if (begin := self._chain.begin) > 0:
            yield Problem(
                message=f"the ledger begins after step {begin:,}: nothing is known of those before",
                steps=(0, begin),
            )
        for chunk in self._chain.effective:
            yield from self._of_chunk(chunk)
            while chunk.header.last_step >= self._run.steps_of(self._next).stop:
                yield from self._close(self._next)
        if self._chain.steps > self._run.steps_of(self._next).start:
            yield from self._close(self._next)
        if self.passes is not None:
            yield from self.passes.problems()

    def _of_chunk(self, chunk: Chunk) -> Iterator[Problem]:
        replay = Replay(self._run, chunk.header)
        if (why := replay.misfit()) is not None:
            steps = (chunk.header.first_step, chunk.header.last_step)
            yield Problem(message=f"{chunk.shown} {why}", steps=steps)
            return
        seen = Presence(chunk, replay)
        # By superblock: in relaxed order the windows would be worked out again and again.
        records = sorted(plain_records(chunk.records()), key=lambda r: (r.superblock, r.offset))
        found = [problem for record in records for problem in self._of_record(record, replay, seen)]
        yield from sorted(found, key=lambda problem: problem.steps or (0, 0))
        yield from seen.problems()
        yield from self._repeats.add(seen.batches(), chunk)

    def _of_record(self, record: Record, replay: Replay, seen: Presence) -> Iterator[Problem]:
        steps = (record.step, record.step + record.steps)
        where = f"{record.steps_text}, rank {record.rank}"
        if (why := replay.misplaced(record)) is not None:
            yield Problem(message=f"{where}: {why} ({seen.chunk.shown})", steps=steps)
            return
        seen.add(record)
        shares = replay.shares(record)
        if (why := replay.contradiction(record, shares)) is not None:
            rows = np.concatenate([share.rows for share in shares])
            yield Problem(message=f"{where}: {why}", steps=steps, rows=tuple(rows.tolist()))
            return
        epoch = replay.geometry.cursor(record.step).epoch
        coverage, left_out = self._coverage(epoch), seen.chunk.header.skipped
        for step, share in enumerate(shares, start=record.step):
            coverage.add(share)
            if step in left_out:
                self._skipped.setdefault(epoch, Coverage(self._run)).add(share)

    def _coverage(self, epoch: int) -> Coverage:
        if epoch not in self._open:
            self._open[epoch] = Coverage(self._run)
        return self._open[epoch]

    def _close(self, epoch: int) -> Iterator[Problem]:
        """Draws the balance of an epoch, the last of which may not be finished."""
        run, coverage = self._run, self._coverage(epoch)
        steps = run.steps_of(epoch)
        done = min(self._chain.steps, steps.stop) - steps.start
        uses, most = coverage.uses, wanted_uses(run, epoch)
        finished = done == len(steps)
        missing = coverage.rows(uses < (most if finished else self._least(epoch, done)))
        repeated = coverage.rows(uses > most)
        nothing = 0 if run.accounts is None else int(np.sum(run.accounts.counts == 0))
        expected = nothing + len(coverage.rows(most > 0))
        quarantined = len(run.quarantined)
        left_out = self._skipped.pop(epoch, None)
        skipped = 0 if left_out is None else len(left_out.rows(left_out.uses > 0))
        used = expected - nothing - len(missing) if finished else len(coverage.rows(uses > 0))
        self.accounts.append(
            EpochAccount(
                epoch=epoch,
                steps=done,
                of_steps=len(steps),
                expected=expected,
                used=used - skipped,
                filtered=nothing - quarantined,
                missing=len(missing),
                repeated=len(repeated),
                quarantined=quarantined,
                skipped=skipped,
            )
        )
        del self._open[epoch]
        self._repeats.forget(epoch)
        self._next = epoch + 1
        if finished and self.passes is not None:
            self.passes.add(uses)
        yield from _unbalanced(epoch, missing, "are in no step")
        yield from _unbalanced(epoch, repeated, "are in more than one step")

    def _least(self, epoch: int, done: int) -> NDArray[np.int32]:
        """How often each unit must have been used after so many steps of an epoch, [units]."""
        wanted = Coverage(self._run)
        if self._chain.effective[-1].header.order == "strict":
            add_positions(wanted, self._run, epoch, done * self._run.description.batch)
        # In relaxed order it is for each step's records to say which of them it was.
        return wanted.uses


def _unbalanced(epoch: int, rows: Rows, what: str) -> Iterator[Problem]:
    if len(rows):
        count = "1 row" if len(rows) == 1 else f"{len(rows):,} rows"
        verb = what.replace("are", "is", 1) if len(rows) == 1 else what
        yield Problem(
            message=f"epoch {epoch + 1}: {count} {verb}", epoch=epoch, rows=tuple(rows.tolist())
        )
