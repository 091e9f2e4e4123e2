"""Whole runs whose device memory does not suffice, and whose loss becomes no number."""

from pathlib import Path

import pytest

from orchestrator.cli.main import main
from tests.support.data import write_rows
from tests.support.ledgers import exported
from tests.support.runs import Run, write_job

ROWS, BATCH, BAD_ROW = 240, 24, 100


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("memory")
    write_rows(folder / "train", ROWS)
    return write_job(
        folder / "job.yaml",
        dataset={"train": {"paths": str(folder / "train")}},
        training={"epochs": 1},
        scaling={"workers": 2},
        checkpoint={"every": "2 steps"},
    )


def test_a_worker_without_room_for_its_rows_takes_smaller_pieces_and_remembers(job: Path) -> None:
    run = Run(job, "scarce")
    scarce = "training.task=tests.support.scarce:ScarceSmallTask"
    printed = run.complete(scarce, "training.with={most: 4}")
    sizes = [(e["step"], e["rank"], e["micro_batch_size"]) for e in run.events("out-of-memory")]
    assert sizes == [(1, 1, 6), (1, 1, 3)]
    assert "ran out on worker 1 with 6 rows at a time; from now on 3" in printed
    assert len(run.attempts()) == 1
    # Resumed, it does not have to find that out again.
    run.complete(scarce, "training.with={most: 4}", "training.epochs=2")
    assert run.step() == 20
    assert len(run.events("out-of-memory")) == 2


@pytest.mark.parametrize("late", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.slow
def test_a_run_rewinds_and_leaves_out_the_step_that_spoilt_it(
    late: bool, job: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(job, f"rewind-{late}".lower())
    poison = "training.task=tests.support.scarce:PoisonTask"
    arguments = f"training.with={{row: {BAD_ROW}, late: {str(late).lower()}}}"
    # The fourth step has the row. Were it saved, spoilt weights would be found right after it.
    printed = run.complete(poison, arguments, "training.on_nan=rewind", "checkpoint.every=3 steps")
    # Where it is the gradient that is no number, the step after it is suspected first.
    assert len(run.events("rewound")) == (2 if late else 1)
    assert "rewound" in printed
    lines = exported(run.dir).to_pandas()
    lines = lines[lines["effective"]]
    skipped = lines[lines["status"] == "skipped"]
    assert len(skipped) == BATCH
    assert BAD_ROW in set(skipped["row"])
    assert sorted(lines["row"]) == list(range(ROWS))
    assert main(["audit", str(run.dir)]) == 0
    assert "left out by a rewind, and not trained" in capsys.readouterr().out


def test_by_default_the_run_stops_and_keeps_its_last_good_checkpoint(job: Path) -> None:
    run = Run(job, "stop")
    poison = "training.task=tests.support.scarce:PoisonTask"
    printed = run.complete(poison, f"training.with={{row: {BAD_ROW}}}", code=1)
    assert "the loss became nan in step " in printed
    assert f"row {BAD_ROW}, on worker " in printed
    bad = max((run.step(), 0)) + 1
    newest = max((run.dir / "checkpoints").glob("step-*"), default=None)
    kept = 0 if newest is None else int(newest.name.split("-")[1])
    assert kept == (bad - 1) // 2 * 2
    assert not run.events("rewound")
