"""Images that are cut, a damaged row group, killed processes: the rest is trained, exactly."""

import json
import signal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from orchestrator.ledger.audit import audit_run
from tests.support.bad_rows import add_images, spoil_group
from tests.support.data import write_rows
from tests.support.ledgers import exported
from tests.support.runs import Run, wait_until_gone, write_job

ROWS, VALIDATION = 331, 101
# The second row group of the second file, whose first row is 166.
SPOILT = range(216, 266)
CUT = [5, 6, 7, 130]
BAD = [*CUT, *SPOILT]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quarantine")
    for name, rows, bad in (("train", ROWS, CUT), ("validation", VALIDATION, [50])):
        for file in sorted(write_rows(folder / name, rows).iterdir()):
            add_images(file, row_group=50, bad=bad)
    spoil_group(folder / "train" / "part-1.parquet", 1)
    return write_job(
        folder / "job.yaml",
        dataset={
            "train": {"paths": str(folder / "train")},
            "validation": {"paths": str(folder / "validation")},
            "shuffle": {"type": "window", "rows": 96},
            "on_error": "quarantine",
            "max_errors": len(BAD),
        },
        transforms=[
            {
                "use": "tests.support.bad_rows:decoded_once_killed",
                "with": {"log": str(folder / "killed")},
            },
            {"use": "tests.support.transforms:jitter", "splits": ["train"]},
        ],
        training={"with": {"step_s": 0.1}, "epochs": 3},
        scaling={"workers": 2, "preprocessing": {"workers": 2}},
    )


def test_more_bad_rows_than_allowed_end_the_run_before_its_first_step(job: Path) -> None:
    run = Run(job, "over")
    printed = run.complete("dataset.max_errors=5", code=5)
    assert "dataset.max_errors: " in printed
    assert f"of the {ROWS} rows of dataset.train cannot be used, and 5 may be" in printed
    assert "Traceback" not in printed
    assert run.step() == 0
    assert not list((run.dir / "quarantine").glob("*.json"))
    # It began by killing a worker of the pass, and Ray gave the rows to another one.
    assert (job.parent / "killed").exists()


@pytest.mark.slow
def test_a_run_with_bad_rows_is_exact_through_kills_and_other_worker_counts(job: Path) -> None:
    (job.parent / "killed").unlink(missing_ok=True)
    calm, rough = Run(job, "calm"), Run(job, "rough")
    printed = calm.complete()
    assert (
        f"quarantined  {len(BAD)} train rows  1 validation row  (listed in quarantine/)" in printed
    )
    driver = rough.start("scaling.workers=3")
    driver.wait_for_step(15)
    session = driver.session()
    driver.process.send_signal(signal.SIGKILL)
    driver.process.wait()
    wait_until_gone(session)
    # From the checkpoint of step 10, in the middle of an epoch of 12 steps.
    rough.complete("scaling.workers=1")
    assert rough.attempts()[-1]["step"] == 10
    tables = []
    for run in (calm, rough):
        audit = audit_run(run.dir)
        assert audit.problems == ()
        assert len(audit.epochs) == 3
        for epoch in audit.epochs:
            assert (epoch.expected, epoch.quarantined) == (ROWS, len(BAD))
            assert (epoch.used, epoch.filtered) == (ROWS - len(BAD), 0)
            assert (epoch.missing, epoch.repeated) == (0, 0)
        table = exported(run.dir).to_pandas()
        trained = table[table["effective"] & (table["status"] == "used")]
        tables.append([group["row"].tolist() for _, group in trained.groupby("step")])
        assert (table["status"] == "quarantined").sum() == 3 * len(BAD)
    assert tables[0] == tables[1]
    assert len(tables[0]) == 36
    check_lists(calm, rough)


def check_lists(calm: Run, rough: Run) -> None:
    name = "quarantine/train.parquet"
    assert (calm.dir / name).read_bytes() == (rough.dir / name).read_bytes()
    lines = pq.read_table(calm.dir / name).to_pylist()
    assert [line["row"] for line in lines] == BAD
    cut, spoilt = lines[: len(CUT)], lines[len(CUT) :]
    assert {line["stage"] for line in cut} == {
        "transform tests.support.bad_rows:decoded_once_killed"
    }
    assert cut[0]["error"].startswith("OSError: ")
    assert cut[1]["error"].startswith("UnidentifiedImageError: cannot identify image file")
    assert {(line["stage"], line["row_group"]) for line in spoilt} == {("read", 1)}
    assert [line["row_in_group"] for line in spoilt] == list(range(50))
    mark = json.loads((calm.dir / "quarantine/validation.json").read_text())
    assert mark["rows"] == 1
    # The second driver knew the rows, and did not look for them again.
    assert [event["split"] for event in rough.events("quarantined")] == ["train", "validation"]
