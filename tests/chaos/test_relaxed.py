"""A relaxed run is killed in the middle of epochs: every row counts once an epoch all the same."""

from collections import Counter
from pathlib import Path

import pytest

from orchestrator.checkpoint.open_epoch import OPEN_EPOCH_FILE
from tests.support.data import write_rows
from tests.support.runs import Run, wait_until_gone, write_job

# 331 rows: no batch and no number of workers divides them. 14 steps an epoch, the last of 19 rows.
ROWS, EPOCHS, STEPS = 331, 6, 14


@pytest.mark.slow
def test_each_row_counts_once_an_epoch_on_other_workers_and_in_another_order(
    tmp_path: Path,
) -> None:
    slow = {"until": 10, "seconds": 1.0}
    job = write_job(
        tmp_path / "job.yaml",
        dataset={
            "train": {"paths": str(write_rows(tmp_path / "train", ROWS))},
            "shuffle": {"type": "window", "rows": 48},
            "order": "relaxed",
        },
        transforms=[{"use": "tests.support.transforms:linger", "with": slow}],
        training={"epochs": EPOCHS, "with": {"step_s": 0.1}},
        scaling={"superblock_steps": 2, "preprocessing": {"workers": 2, "tasks_in_flight": 1}},
        checkpoint={"every": "3 steps"},
    )
    run, logs = Run(job, "relaxed"), []
    for workers, order in ((3, "relaxed"), (2, "relaxed"), (3, "strict")):
        log = tmp_path / f"log-{len(logs)}"
        log.mkdir()
        logs.append(log)
        sets = f"training.with.log={log}", f"scaling.workers={workers}", f"dataset.order={order}"
        if order == "strict":
            run.complete(*sets)
            break
        driver, begun = run.start(*sets), run.step()
        driver.wait_for(
            "a checkpoint of an epoch without order",
            lambda begun=begun: run.step() > begun + 3 and has_open_epoch(run),
        )
        driver.process.kill()
        driver.process.wait()
        wait_until_gone(driver.session(), "RayTrainWorker")

    begins = [int(str(attempt["step"])) for attempt in run.attempts()]
    assert len(begins) == 3
    assert 0 < begins[1] < begins[2] < EPOCHS * STEPS
    counts: dict[int, Counter[int]] = {epoch: Counter() for epoch in range(EPOCHS)}
    for log, first, end in zip(logs, begins, [*begins[1:], EPOCHS * STEPS], strict=True):
        for worker in log.glob("*.txt"):
            # What a worker did past the step at which its successors began was done again.
            for step, line in enumerate(worker.read_text().splitlines()[: end - first], first):
                counts[step // STEPS].update(map(int, line.split()))
    for counted in counts.values():
        assert counted == Counter(range(ROWS))


def has_open_epoch(run: Run) -> bool:
    newest = max((run.dir / "checkpoints").glob("step-*/MANIFEST.json"), default=None)
    return newest is not None and (newest.parent / OPEN_EPOCH_FILE).exists()
