"""A run under fire for minutes: make soak, or python -m tests.chaos.soak --minutes 15 --seed 7.

On a cluster of three nodes on this machine its ranks, preprocessing workers, split coordinators,
drivers and whole nodes are killed at random moments, and drivers are followed by others with more
or fewer workers. When the time is up, the run is left alone to end. It has to end as a run on one
worker that nobody disturbed, and must not have used more and more of the machine.
"""

import argparse
import os
import random
import secrets
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.six_kills import last_scores
from tests.chaos.soak_checks import Check, back, bounded_faults, no_growth, same
from tests.support import clusters
from tests.support.clusters import local_cluster
from tests.support.faults import wait_until_idle
from tests.support.onslaught import NODE_CPUS, Onslaught
from tests.support.runs import Run
from tests.support.steady import set_pace, write_steady_job
from tests.support.usage import Usage, marked_processes

# Seconds a step takes under fire, so that the run lasts as long as that does.
STEP_S = 0.15
EVERY = 20
# For how long more there have to be steps: a last round of faults.
SLACK_S = 120.0
# For the rest of the run, and for the undisturbed one, at full speed on a slow machine.
END_LIMIT_S = 1200.0
MARK = "ORCHESTRATOR_SOAK"
_GONE_LIMIT_S = 30.0
Say = Callable[[str], None]


def main() -> int:
    """Prints what happens; returns 0 if all is as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak")
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    parser.add_argument("--folder", type=Path, help="where the runs go; by default a new one")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="soak-"))
    checks = soak(folder.resolve(), minutes=options.minutes, seed=options.seed, say=_say)
    if failed := sum(not check.holds for check in checks):
        _say(f"{failed} of {len(checks)} do not hold")
        return 1
    if options.folder is None:
        # Of a failed one everything stays, to be looked at.
        shutil.rmtree(folder)
    return 0


def soak(folder: Path, *, minutes: float, seed: int, say: Say) -> list[Check]:
    """Trains once undisturbed and once under fire; what has to be so, and whether it is.

    Args:
        minutes: how long the faults go on.
        seed: of their order and moments.
    """
    folder.mkdir(parents=True, exist_ok=True)
    steps = int((minutes * 60 + SLACK_S) / STEP_S)
    job = write_steady_job(folder, steps=steps, every=EVERY)
    undisturbed, run = Run(job, "undisturbed"), Run(job, f"soak-{seed}")
    say(f"seed {seed}, {minutes:g} minutes, runs in {folder / 'runs'}")
    driver = undisturbed.start("scaling.workers=1")
    driver.process.wait(timeout=END_LIMIT_S)
    driver.finish()
    say(f"undisturbed, on one worker: {undisturbed.step()} steps, {last_scores(undisturbed)}")
    with local_cluster(0, NODE_CPUS, NODE_CPUS) as cluster, _driver_environment(folder) as mark:
        set_pace(folder, STEP_S)
        usage = Usage(cluster.folder, cluster.raylets[0], [cluster.folder, folder / "tmp"])
        onslaught = Onslaught(
            run,
            cluster,
            usage,
            rng=random.Random(seed),
            settings=(f"runtime.address={cluster.address}",),
            say=say,
        )
        onslaught.rage(time.monotonic() + minutes * 60)
        say(f"left alone at step {run.step()}")
        set_pace(folder, 0.0)
        onslaught.leave_alone(END_LIMIT_S)
        wait_until_idle(cluster)
        left = _left(mark)
    usage.write(folder / "usage.jsonl")
    say(f"ended: {run.step()} steps, {last_scores(run)}")
    say(back(onslaught))
    checks = [
        *same(run, undisturbed),
        *bounded_faults(run, onslaught, every=EVERY),
        *no_growth(usage, faults=onslaught.fired.total()),
        Check(what=f"left running: {', '.join(left) or 'nothing'}", holds=not left),
    ]
    for check in checks:
        say(str(check))
    return checks


@contextmanager
def _driver_environment(folder: Path) -> Iterator[str]:
    """What drivers have in their environment: a mark to find them by, temporary files apart."""
    (folder / "tmp").mkdir()
    mark = uuid.uuid4().hex
    ours = {**clusters.ENVIRONMENT, MARK: mark, "TMPDIR": str(folder / "tmp")}
    before = dict(os.environ)
    os.environ.update(ours)
    try:
        yield mark
    finally:
        os.environ.clear()
        os.environ.update(before)
        # Where the soak itself has failed or is broken off.
        for process in marked_processes(MARK, mark):
            process.kill()


def _left(mark: str) -> list[str]:
    """What drivers have started and left behind; a guard may need a moment to end."""
    deadline = time.monotonic() + _GONE_LIMIT_S
    while (left := marked_processes(MARK, mark)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return [f"{process.pid} {process.name()}" for process in left]


def _say(text: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
