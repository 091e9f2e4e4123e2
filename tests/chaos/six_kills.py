"""The flights job under six SIGKILLs at random steps: python -m tests.chaos.six_kills.

On a cluster of three nodes on this machine a rank, a preprocessing actor, the split coordinator, a
node and twice the driver are killed. What was killed when is printed, and in the end how the run
compares with one that nobody disturbed.
"""

import argparse
import os
import random
import secrets
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import yaml

from orchestrator.ledger.audit import audit_run
from orchestrator.report.proof import render_proof
from tests.support import clusters
from tests.support.clusters import LocalCluster, local_cluster
from tests.support.faults import (
    RANK,
    Killed,
    kill_coordinator,
    kill_driver,
    kill_map_worker,
    kill_node,
    kill_rank,
    wait_until_idle,
)
from tests.support.runs import ROOT, Driver, Run

JOB = ROOT / "jobs" / "flights.yaml"
# Each step is reported, so that a kill knows where it strikes. Few actors, as they start slowly.
# Few steps in a block: a worker that has an epoch in hand would hardly miss the coordinator.
SETTINGS = (
    "training.report_every=1",
    "scaling.preprocessing.workers=2",
    "scaling.superblock_steps=4",
)
# Steps between two kills, and before the run's end.
APART = 25
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What came out: of the disturbed run, and whether it is what should have."""

    run: Run
    attempts: int
    same_losses: bool
    same_scores: bool
    same_weights: bool
    audit: str

    @property
    def exact(self) -> bool:
        same = self.same_losses and self.same_scores and self.same_weights
        return same and ": each row exactly once" in self.audit


def main() -> int:
    """Prints what happens; returns 0 if nothing was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.six_kills")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    parser.add_argument("--folder", type=Path, help="where the runs go; by default a new one")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="six-kills-"))
    compared = six_kills(folder.resolve(), seed=options.seed, say=_say)
    return 0 if compared.exact else 1


def six_kills(folder: Path, *, seed: int, say: Say) -> Comparison:
    """Trains once undisturbed and once under fire, and compares.

    Args:
        seed: of the steps at which the kills strike.
    """
    job = write_flights(folder)
    undisturbed, run = Run(job, "undisturbed"), Run(job, f"killed-{seed}")
    say(f"seed {seed}, runs in {folder / 'runs'}")
    undisturbed.complete(*SETTINGS)
    say(f"undisturbed: {undisturbed.step()} steps, {last_scores(undisturbed)}")
    os.environ.update(clusters.ENVIRONMENT)
    # The head, where the driver is, has no room for the workers; each other node has for all.
    with local_cluster(2, 6, 6) as cluster:
        say(f"a cluster of {len(cluster.raylets)} nodes at {cluster.address}")
        disturb(run, cluster, kill_steps(seed, undisturbed.step()), say)
        wait_until_idle(cluster)
        say("nothing of the run is left in the cluster")
    compared = compare(run, undisturbed)
    say(f"killed: {run.step()} steps, {last_scores(run)}, {compared.attempts} attempts")
    for what in ("losses", "scores", "weights"):
        same = getattr(compared, f"same_{what}")
        say(f"{what}: {'the same to the last bit' if same else 'NOT THE SAME'}")
    say(f"orchestrator audit {run.name}\n{compared.audit}")
    return compared


def write_flights(folder: Path) -> Path:
    """The flights job, with its runs below the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    job = yaml.safe_load(JOB.read_text())
    job["runtime"] = {"working_dir": str(ROOT)}
    job["checkpoint"] = {"storage": str(folder / "runs"), "every": "25 steps"}
    path = folder / "flights.yaml"
    path.write_text(yaml.safe_dump(job))
    return path


def kill_steps(seed: int, steps: int) -> list[int]:
    """Six random steps of a run in their order, no two of them close together."""
    room = steps - 7 * APART
    places = sorted(random.Random(seed).sample(range(room), 6))
    return [place + APART * (number + 1) for number, place in enumerate(places)]


def disturb(run: Run, cluster: LocalCluster, steps: Sequence[int], say: Say) -> None:
    """Runs the job on the cluster, kills at the steps what the module says, and completes it."""
    settings = (*SETTINGS, f"runtime.address={cluster.address}")
    driver = run.start(*settings)

    def strike(attempt: int, step: int, fault: Callable[[], Killed]) -> None:
        _wait_for_step_of(driver, run, attempt, step)
        say(f"step {run.step()} of attempt {attempt}: killed {fault()}")

    rank, actor, coordinator, node, *drivers = steps
    strike(1, rank, lambda: kill_rank(cluster.folder))
    strike(2, actor, lambda: kill_map_worker(cluster.folder))
    strike(2, coordinator, lambda: kill_coordinator(cluster.folder))
    strike(3, node, lambda: kill_node(cluster, hosting=RANK))
    for attempt, step in enumerate(drivers, start=4):
        strike(attempt, step, partial(kill_driver, driver))
        driver = run.start(*settings)
    driver.finish()


def compare(run: Run, undisturbed: Run) -> Comparison:
    """The two runs side by side."""
    scores = [
        {record["step"]: record["metrics"] for record in found.metrics("validation")}
        for found in (run, undisturbed)
    ]
    return Comparison(
        run=run,
        attempts=len(run.attempts()),
        same_losses=run.losses() == undisturbed.losses(),
        same_scores=scores[0] == scores[1],
        same_weights=run.state_digest() == undisturbed.state_digest(),
        audit=render_proof(audit_run(run.dir), run.name),
    )


def last_scores(run: Run) -> str:
    """The metrics of the last validation, as text."""
    metrics = run.metrics("validation")[-1]["metrics"]
    assert isinstance(metrics, dict)
    return "  ".join(f"{name} {value:.6g}" for name, value in metrics.items())


def _wait_for_step_of(driver: Driver, run: Run, attempt: int, step: int) -> None:
    """Waits until an attempt, and not the one before it in its last moments, is at a step."""

    def there() -> bool:
        records = run.metrics()
        return bool(records) and records[-1]["attempt"] == attempt and run.step() >= step

    driver.wait_for(f"step {step} of attempt {attempt}", there)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
