"""Whole runs of the command on an embedded Ray."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from orchestrator.cli.main import main
from tests.support.data import write_rows
from tests.support.ledgers import assert_exact_run
from tests.support.runs import Run, wait_until_gone, write_job

TRAIN, VALIDATION = 240, 101


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    write_rows(folder / "train", TRAIN)
    write_rows(folder / "validation", VALIDATION)
    (folder / "ids").mkdir()
    return folder


@pytest.fixture(scope="module")
def finished(folder: Path) -> Run:
    """Two workers, two epochs of ten steps, recorded rows."""
    job = write_job(
        folder / "job.yaml",
        dataset={
            "train": {"paths": str(folder / "train")},
            "validation": {"paths": str(folder / "validation")},
        },
        training={"with": {"log": str(folder / "ids"), "dropout": 0.0}, "micro_batch_size": 5},
        scaling={"workers": 2},
        checkpoint={"best": {"metric": "accuracy", "mode": "max"}},
    )
    run = Run(job, "finished")
    driver = run.start()
    driver.wait_for_step(1)
    session = driver.session()
    run.output = driver.finish()
    wait_until_gone(session, limit_s=0.0)
    return run


def test_every_row_is_trained_once_an_epoch(finished: Run, folder: Path) -> None:
    calls = [
        [int(word) for word in line.split()]
        for path in sorted((folder / "ids").glob("*.txt"))
        for line in path.read_text().splitlines()
    ]
    ids = [id_ for call in calls for id_ in call]
    # A share of 12 rows in micro-batches of at most 5 makes 3 calls.
    assert {len(call) for call in calls} == {4}
    np.testing.assert_array_equal(np.bincount(ids), np.full(TRAIN, 2))


def test_the_ledger_proves_it_and_says_which_rows_made_which_step(
    finished: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert assert_exact_run(finished.dir) == 2
    assert main(["audit", str(finished.dir)]) == 0
    assert "20 of 20 proven" in capsys.readouterr().out


def test_a_validation_scores_every_row_once(finished: Run) -> None:
    records = finished.metrics("validation")
    assert [(record["step"], record["rows"]) for record in records] == [
        (10, VALIDATION),
        (20, VALIDATION),
    ]


def test_the_summary_says_what_came_out_and_where_it_lies(finished: Run) -> None:
    for part in (
        "20 steps",
        "accuracy",
        "rows/s",
        "data wait",
        str(finished.dir),
        "driver-001.log",
    ):
        assert part in finished.output
    # What Ray prints is in the log and not on the screen.
    assert "pid=" not in finished.output


def test_the_run_directory_holds_what_is_promised(finished: Run) -> None:
    names = {path.name for path in finished.dir.iterdir()}
    files = {"job.yaml", "environment.json", "metrics.jsonl", "events.jsonl"}
    assert files | {"attempts", "checkpoints", "ledger", "logs", "model"} <= names
    weights = load_file(finished.dir / "model" / "model.safetensors")
    assert weights["0.weight"].shape == (64, 8)
    environment = json.loads((finished.dir / "environment.json").read_text())
    assert environment["versions"]["ray"].startswith("2.60")


def test_a_finished_run_does_nothing_and_more_epochs_continue_it(
    finished: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    before = finished.state_digest()
    printed = finished.complete()
    assert "already finished" in printed
    assert len(finished.attempts()) == 1
    assert finished.state_digest() == before
    # And now with another number of workers, which gets the same rows.
    finished.complete("training.epochs=3", "scaling.workers=3")
    assert finished.step() == 30
    last = finished.attempts()[-1]
    assert (last["parent"], last["step"], last["workers"]) == (1, 20, 3)
    assert assert_exact_run(finished.dir) == 3
    assert main(["audit", str(finished.dir), "--json"]) == 0
    proof = json.loads(capsys.readouterr().out)
    assert (proof["exact"], proof["steps"], proof["workers"]) == (True, 30, [2, 3])


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        pytest.param(
            "training.task=tests.support.task:BrokenTask",
            1,
            ["KeyError", "colour"],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "training.task=tests.support.task:NanTask",
            1,
            ["nan", "in step 1 (epoch 1): rows "],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "training.task=tests.support.task:ColourTask",
            5,
            ["training.task: tests.support.task:ColourTask.loss", 'asks for column "colour"'],
            marks=pytest.mark.slow,
        ),
        (
            "transforms=[tests.support.transforms:refuse]",
            5,
            [
                "tests.support.transforms:refuse failed on row 17 of epoch 0 (",
                "part-0.parquet, row 17): ValueError: row seventeen is cursed",
                "transforms.py:",
            ],
        ),
    ],
)
def test_a_mistake_of_the_user_ends_the_run_with_one_message(
    finished: Run, change: str, code: int, words: list[str]
) -> None:
    run = Run(finished.job, f"mistake-{code}-{words[0].lower().replace(':', '.')[:10]}")
    printed = run.complete(change, code=code)
    errors = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    # Below that line stands where it happened, or where the rows are.
    for word in words:
        assert word in printed
    assert "Traceback" not in printed


def test_a_summary_of_the_task_is_the_record_of_a_validation(finished: Run) -> None:
    run = Run(finished.job, "ranking")
    ranking = "training.task=tests.support.task:RankingTask"
    run.complete(ranking, "checkpoint.best.metric=last", "training.epochs=1", "training.with={}")
    (record,) = run.metrics("validation")
    assert record["metrics"] == {"last": VALIDATION - 1, "in_order": 1.0}
    assert record["rows"] == VALIDATION


@pytest.mark.slow
def test_a_best_metric_that_a_summary_does_not_give_is_found_before_training(finished: Run) -> None:
    run = Run(finished.job, "unranked")
    printed = run.complete("training.task=tests.support.task:RankingTask", code=2)
    assert "checkpoint.best.metric is 'accuracy', but a validation gives last, in_order" in printed
    assert not run.metrics()
