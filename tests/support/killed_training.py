"""A whole training that is killed at each of its file operations in turn, and goes on each time.

Run as a process of its own: it forks, which a process that has trained must not do. It prints one
line of JSON, with what became of each kill and of the training that nobody killed.
"""

import json
import os
import shutil
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from orchestrator.checkpoint.attempts import Attempt, AttemptLog
from orchestrator.checkpoint.manifest import CheckpointInfo
from orchestrator.checkpoint.store import CheckpointStore
from orchestrator.ledger.audit import audit_run
from orchestrator.ledger.description import describe_order, write_description
from orchestrator.plan.job import JobPlan
from orchestrator.train import state
from tests.support.books import run_own_loop
from tests.support.loops import train_images
from tests.support.training import digest, make_plan

AUDITED = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"}
MOST_OPERATIONS = 500
WRITES_APART = 12


@dataclass(frozen=True)
class Outcome:
    """What a kill left, and what the attempt after it made of that."""

    killed: bool
    step: int
    digest: str
    problems: list[str]


def plan_of(folder: Path) -> JobPlan:
    """Two steps, each of them saved; the first checkpoint goes when the second one is there."""
    return make_plan(
        folder,
        rows=12,
        batch=6,
        validation=False,
        training={"epochs": 1},
        checkpoint={"every": "1 steps", "keep_latest": 1},
        # As the fake stream has them.
        shuffle={"type": "none"},
    )


def begin(plan: JobPlan, number: int, found: CheckpointInfo | None) -> None:
    """Records an attempt, as a driver does before its workers begin."""
    AttemptLog(plan.run_dir / "attempts").begin(
        Attempt(
            number=number,
            parent=number - 1 or None,
            step=found.manifest.step if found else 0,
            checkpoint=found.name if found else None,
            checkpoint_digest=found.manifest.digest if found else None,
            workers=1,
            driver=1,
            reason="started",
            host="here",
            pid=1,
            started_at=0.0,
        )
    )


def train(plan: JobPlan, attempt: int, step: int, result: Path) -> None:
    """One attempt to its end, whose last state leaves its digest."""
    end = run_own_loop(train_images, plan, attempt=attempt, begin_at=step)
    result.write_text(digest({name: part.state() for name, part in end.parts.items()}))


def forked(plan: JobPlan, attempt: int, step: int, result: Path, *, kill_at: int | None) -> bool:
    """Trains in a process of its own; whether that one was killed."""
    child = os.fork()
    if child == 0:
        try:
            if kill_at is not None:
                count_down(plan.run_dir, kill_at)
            train(plan, attempt, step, result)
            os._exit(0)
        finally:
            os._exit(99)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in ((0,) if kill_at is None else (0, -signal.SIGKILL)), status
    return status != 0


def count_down(run_dir: Path, number: int) -> None:
    """Has this process kill itself before its file operation `number` in the run's directory."""
    left, writes = number, 0
    real_fsync, real_write = os.fsync, state._StateFile.write

    def boundary() -> None:
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    def is_of_run(path: str) -> bool:
        # The names of what a tree has are relative while it is deleted; what is opened is not.
        return path.startswith(str(run_dir)) or "/" not in path

    def audited(event: str, arguments: tuple[object, ...]) -> None:
        if event in AUDITED and is_of_run(str(arguments[0])):
            boundary()

    def fsync(descriptor: int) -> None:
        boundary()
        real_fsync(descriptor)

    def write(file: state._StateFile, data: bytes) -> int:
        nonlocal writes
        # There are some for each tensor, and they are all alike.
        if writes % WRITES_APART == 0:
            boundary()
        writes += 1
        return real_write(file, data)

    os.fsync = fsync
    state._StateFile.write = write  # type: ignore[method-assign,assignment] # in this child alone
    sys.addaudithook(audited)


def kill_and_go_on(plan: JobPlan, kill_at: int | None) -> Outcome:
    """One kill on a fresh run, and the attempt that goes on, as a driver would begin it."""
    result = plan.run_dir.parent / "digest"
    shutil.rmtree(plan.run_dir, ignore_errors=True)
    plan.run_dir.mkdir(parents=True)
    write_description(plan.run_dir, describe_order(plan))
    begin(plan, 1, None)
    killed = forked(plan, 1, 0, result, kill_at=kill_at)
    store = CheckpointStore(plan.run_dir / "checkpoints")
    found, set_aside = store.newest_valid()
    assert not set_aside, set_aside
    step = found.manifest.step if found else 0
    if killed:
        result.unlink(missing_ok=True)
        store.remove_uncommitted(2)
        begin(plan, 2, found)
        forked(plan, 2, step, result, kill_at=None)
    audit = audit_run(plan.run_dir)
    assert audit.chain.steps == plan.total_steps
    return Outcome(killed, step, result.read_text(), [str(problem) for problem in audit.problems])


def main(folder: Path) -> None:
    """Kills at each operation, until there is none left."""
    torch.set_num_threads(1)
    # Optimizers import much when the first one is made: here, and not in each process anew.
    torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=0.1)
    plan = plan_of(folder)
    outcomes = [kill_and_go_on(plan, None)]
    while len(outcomes) < MOST_OPERATIONS and (len(outcomes) == 1 or outcomes[-1].killed):
        outcomes.append(kill_and_go_on(plan, len(outcomes) - 1))
    sys.stdout.write(json.dumps([asdict(outcome) for outcome in outcomes]) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
