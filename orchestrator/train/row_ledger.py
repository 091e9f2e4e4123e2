"""What a rank notes of the rows it trained, and how it gets to the first rank."""

from pathlib import Path

import torch.distributed as dist

from orchestrator.checkpoint.attempts import AttemptLog
from orchestrator.checkpoint.store import CheckpointStore
from orchestrator.ledger.chunk import ChunkFacts
from orchestrator.ledger.record import Records
from orchestrator.ledger.recorder import RowRecorder
from orchestrator.ledger.writer import LedgerWriter
from orchestrator.plan.job import JobPlan
from orchestrator.train.stepper import world


def open_recorder(plan: JobPlan) -> RowRecorder | None:
    """This rank's recorder; None where the run keeps no ledger."""
    return RowRecorder(world()[0]) if plan.spec.checkpoint.ledger else None


def open_writer(
    plan: JobPlan,
    run_dir: Path,
    *,
    attempt: int,
    step: int,
    checkpoint: str | None,
    in_order: bool = True,
) -> LedgerWriter | None:
    """The writer of an attempt, on the first rank; None where the run keeps no ledger.

    Args:
        step: steps of the whole run that are done.
        checkpoint: the name of the one it begins with, whose ledger goes on.
        in_order: whether the steps that are done of its first epoch are the first ones.
    """
    if not plan.spec.checkpoint.ledger:
        return None
    committed = CheckpointStore(run_dir / "checkpoints").committed()
    # One that is not there, or no longer, is refused when the state is loaded.
    begun = next((info.manifest for info in committed if info.name == checkpoint), None)
    per_epoch = plan.train.geometry.steps_per_epoch
    return LedgerWriter(
        run_dir,
        ChunkFacts(
            attempt=attempt,
            workers=world()[1],
            geometry=plan.train.geometry,
            order="relaxed" if plan.train.relaxed else "strict",
            order_fingerprint=plan.fingerprint.digest,
        ),
        parent=begun.ledger if begun else None,
        first_step=step,
        fence=AttemptLog(run_dir / "attempts").fence(attempt),
        # What is left of an epoch that was begun in relaxed order has other steps.
        strict_from=0 if in_order else (step // per_epoch + 1) * per_epoch,
    )


def records_of_ranks(records: Records) -> list[Records]:
    """The records of all ranks, on the first one, and none elsewhere; every rank calls it."""
    rank, workers = world()
    if workers == 1:
        return [records]
    found: list[Records] | None = [records] * workers if rank == 0 else None
    dist.gather_object(records, found)
    return found or []
