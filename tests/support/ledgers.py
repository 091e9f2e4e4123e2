"""Ledgers: runs that fake ranks wrote, and a check of an exported one by its table alone."""

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from orchestrator.checkpoint.attempts import Attempt, AttemptLog
from orchestrator.checkpoint.manager import CheckpointManager
from orchestrator.checkpoint.manifest import CheckpointInfo, Manifest
from orchestrator.checkpoint.policy import EverySteps
from orchestrator.checkpoint.retention import LatestN
from orchestrator.checkpoint.store import CheckpointStore
from orchestrator.data.counts_file import StoredCounts, counts_file, dump_counts
from orchestrator.ledger.chunk import ChunkFacts, OrderKind
from orchestrator.ledger.description import describe_order, write_description
from orchestrator.ledger.export import export_ledger
from orchestrator.ledger.record import Records
from orchestrator.ledger.recorder import RowRecorder
from orchestrator.ledger.writer import LedgerWriter
from orchestrator.plan.accounts import EpochOrigins
from orchestrator.plan.geometry import Cursor
from orchestrator.plan.job import JobPlan
from orchestrator.plan.origins import Counts, Origins

# What a trainer that is wrong would have noted, of the right records of a rank.
Edit = Callable[[int, Records], Records]


@dataclass(frozen=True)
class Share:
    """What a rank trained in a step."""

    superblock: int
    offset: int
    origins: Origins


@dataclass(frozen=True)
class FakeRun:
    """A run of a plan whose ranks train nothing, but note it and save as real ones do."""

    plan: JobPlan
    folder: Path
    order: OrderKind = "strict"
    counts: Counts | None = None

    def __post_init__(self) -> None:
        if (counting := self.plan.train.counting) is not None:
            assert self.counts is not None
            stored = StoredCounts(key=counting.key, counts=self.counts)
            (self.folder / counts_file("train")).write_bytes(dump_counts(stored))
        write_description(self.folder, describe_order(self.plan))

    def train(
        self,
        workers: int,
        until: int,
        *,
        every: int = 4,
        start: int | None = None,
        edit: Edit = lambda rank, records: records,
        wrong: Callable[[int, int, Origins], Origins] = lambda step, rank, origins: origins,
        left_out: Collection[int] = (),
    ) -> None:
        """One attempt, from a checkpoint (by default the newest) up to a step, where it saves.

        Args:
            start: the step of the checkpoint to begin with.
            edit: makes what the ranks note into something else.
            wrong: makes what the ranks train in a step of the run into something else.
            left_out: steps that are not trained, as after a rewind.
        """
        begun = self._begin(workers, start)
        step = begun.manifest.step if begun else 0
        number = AttemptLog(self.folder / "attempts").newest()
        fence = AttemptLog(self.folder / "attempts").fence(number)
        manager = CheckpointManager(
            CheckpointStore(self.folder / "checkpoints"),
            save_policy=EverySteps(every),
            retention=LatestN(2),
            attempt=number,
            fence=fence,
        )
        writer = LedgerWriter(
            self.folder,
            self._facts(workers, number),
            parent=begun.manifest.ledger if begun else None,
            first_step=step,
            fence=fence,
        )
        recorders = [RowRecorder(rank) for rank in range(workers)]
        while step < until:
            for rank, recorder in enumerate(recorders):
                share = self.share(step, rank, workers)
                trained = wrong(step, rank, share.origins)
                recorder.add(replace(share, origins=trained), step=step)
            if step in left_out:
                writer.skipped(step)
            step += 1
            if step % every == 0 or step == until:
                writer.hold(edit(rank, each.take()) for rank, each in enumerate(recorders))
                self._save(manager, writer, step)

    def share(self, step: int, rank: int, workers: int) -> Share:
        """What a rank trains in a step of the run."""
        geometry = self.plan.train.geometry
        cursor = self._cursor(step)
        start, stop = geometry.rank_span(cursor.step, rank, workers)
        superblock = geometry.superblock(geometry.superblock_of(cursor))
        origins = self._origins.between(cursor.epoch, start, stop)
        return Share(superblock.number, cursor.step - superblock.first_step, origins)

    @cached_property
    def _origins(self) -> EpochOrigins:
        stream = self.plan.train
        counted = stream.counting is not None and self.counts is not None
        accounts = stream.counting.accounts(self.counts) if counted else None
        return EpochOrigins(stream.sample_order(), accounts)

    def _cursor(self, step: int) -> Cursor:
        """The place of a step in the order: in relaxed order superblocks come backwards."""
        geometry = self.plan.train.geometry
        cursor = geometry.cursor(step)
        if self.order == "strict":
            return cursor
        count = geometry.superblocks_per_epoch
        steps = [
            first + offset
            for block in (geometry.superblock(number) for number in reversed(range(count)))
            for first, offset in ((block.first_step, each) for each in range(block.steps))
        ]
        return Cursor(epoch=cursor.epoch, step=steps[cursor.step])

    def _begin(self, workers: int, start: int | None) -> CheckpointInfo | None:
        store, log = (
            CheckpointStore(self.folder / "checkpoints"),
            AttemptLog(self.folder / "attempts"),
        )
        found = [info for info in store.committed() if start in (None, info.manifest.step)]
        assert found or start in (None, 0), f"no checkpoint of step {start}"
        begun = found[0] if found and start != 0 else None
        for newer in store.committed():
            # As a driver does with damaged ones: what is newer does not count any more.
            if begun is not None and newer.age_key > begun.age_key:
                store.delete(newer)
        log.begin(
            Attempt(
                number=log.newest() + 1,
                parent=begun.manifest.attempt if begun else None,
                step=begun.manifest.step if begun else 0,
                checkpoint=begun.name if begun else None,
                checkpoint_digest=begun.manifest.digest if begun else None,
                workers=workers,
                driver=1,
                reason="started",
                host="here",
                pid=1,
                started_at=0.0,
            )
        )
        return begun

    def _facts(self, workers: int, attempt: int) -> ChunkFacts:
        return ChunkFacts(
            attempt=attempt,
            workers=workers,
            geometry=self.plan.train.geometry,
            order=self.order,
            order_fingerprint=self.plan.fingerprint.digest,
        )

    def _save(self, manager: CheckpointManager, writer: LedgerWriter, step: int) -> None:
        manager.save(
            lambda directory: (directory / "state").write_text(f"{step}") and None,
            step=step,
            cursor={"epoch": 0, "step": step},
            metrics={},
            order_fingerprint=self.plan.fingerprint.digest,
            parts=self.plan.fingerprint.parts,
            versions={},
            ledger=writer.write(step),
        )


def exported(run_dir: Path) -> pa.Table:
    """The whole ledger of a run, as a user reads it."""
    file = run_dir / "exported.parquet"
    lines = export_ledger(run_dir, file).lines
    table = pq.read_table(file)
    assert table.num_rows == lines
    file.unlink()
    return table


def assert_exact(run_dir: Path, *, rows: int, steps_per_epoch: int) -> int:
    """Checks that each row has one account in each finished epoch; returns how many there are.

    Made of the exported table alone, and of nothing that `orchestrator audit` is made of.
    """
    table = exported(run_dir)
    lines = table.filter(table["effective"])
    used = lines.filter(pc.equal(lines["status"], "used"))
    steps = np.unique(used["step"].to_numpy())
    np.testing.assert_array_equal(steps, np.arange(1, len(steps) + 1))
    finished = len(steps) // steps_per_epoch
    for epoch in range(finished):
        here = lines.filter(pc.equal(lines["epoch"], epoch))
        trained = here.filter(pc.equal(here["status"], "used"))
        assert len(np.unique(trained["step"].to_numpy())) == steps_per_epoch
        kept = np.unique(trained["row"].to_numpy())
        filtered = here.filter(pc.equal(here["status"], "filtered"))["row"].to_numpy()
        np.testing.assert_array_equal(
            np.sort(np.concatenate([kept, filtered])), np.arange(rows), f"epoch {epoch}"
        )
        assert_whole(trained)
    return finished


def assert_whole(trained: pa.Table) -> None:
    """Checks that each row's parts, or the spans of its tokens, lie end to end, none twice."""
    if "start" in trained.column_names:
        starts, stops = trained["start"].to_numpy(), trained["stop"].to_numpy()
    else:
        starts = trained["part"].to_numpy()
        stops = starts + 1
    rows = trained["row"].to_numpy()
    order = np.lexsort((starts, rows))
    rows, starts, stops = rows[order], starts[order], stops[order]
    new = np.concatenate([[True], rows[1:] != rows[:-1]])
    assert (starts[new] == 0).all()
    assert (starts[1:][~new[1:]] == stops[:-1][~new[1:]]).all()


def assert_exact_run(run_dir: Path) -> int:
    """The same for a real run, whose rows its data.json counts."""
    files = json.loads((run_dir / "data.json").read_text())["files"].values()
    plan = json.loads((run_dir / "plan.json").read_text())
    rows = sum(int(text.split(" rows")[0]) for text in files)
    return assert_exact(run_dir, rows=rows, steps_per_epoch=plan["steps_per_epoch"])


def chunks_of(run_dir: Path) -> list[Path]:
    """The files of the ledger, the oldest first."""
    return sorted((run_dir / "ledger").glob("*.chunk"))


def forget_ledger(run_dir: Path) -> None:
    """As if the newest checkpoint had been written with `checkpoint.ledger: false`."""
    file = max((run_dir / "checkpoints").glob("step-*")) / "MANIFEST.json"
    manifest = Manifest.from_bytes(file.read_bytes())
    file.write_bytes(replace(manifest, ledger=None).to_bytes())
