"""The measured cost of the first rows: found apart from the driver, kept, and never in the way."""

import json
from pathlib import Path

import pytest

from orchestrator.data.probe import measure_cost
from orchestrator.data.reader import StageTask
from orchestrator.jsonl import JsonLinesWriter, read_json_lines
from orchestrator.plan.job import JobPlan
from orchestrator.run import measuring
from orchestrator.run.directory import open_run
from orchestrator.run.measuring import COST_FILE, CostProbe
from orchestrator.run.planning import plan_job
from orchestrator.spec.load import load_job
from tests.support.data import write_rows
from tests.support.runs import ROOT, write_job

ROWS = 600


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("measured") / "train", ROWS)


def a_plan(folder: Path, data: Path, *uses: dict[str, object]) -> JobPlan:
    job = write_job(
        folder / "job.yaml",
        dataset={"train": {"paths": str(data)}},
        transforms=[*uses],
        scaling={"superblock_steps": 2},
    )
    return plan_job(load_job(job))


def tuned(plan: JobPlan) -> tuple[JobPlan, list[dict[str, object]]]:
    """The plan with what its rows cost, and the events that tell of it."""
    directory = open_run(plan)
    with JsonLinesWriter(directory.events) as events:
        probe = CostProbe(directory, events)
        try:
            made = probe.applied_to(plan, (), check=lambda: None)
        finally:
            probe.close()
    return made, [dict(record) for record in read_json_lines(directory.events)]


def test_a_cost_is_that_of_reading_and_of_the_transforms(tmp_path: Path, data: Path) -> None:
    slow = {"use": "tests.support.transforms:take_long", "with": {"row_s": 0.001}}
    plan = a_plan(tmp_path, data, slow)
    (stream, superblocks), *_ = plan.streams_from(0)
    cost = measure_cost(
        StageTask(stream=stream, position=0, root=ROOT, workers=1, superblocks=superblocks)
    )
    # It waits a thousandth of a second for each row, at least, and does nothing then.
    assert cost.work_s >= 0.0009
    assert cost.busy < 0.75
    assert cost.rows > 0
    # id, label and x are 48 bytes; the origin and what a block needs come to that.
    assert 48 < cost.row_bytes < 200


def test_what_was_measured_is_told_and_kept_for_a_resume(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "_PATIENCE_S", 60.0)
    plan = a_plan(tmp_path, data)
    made, events = tuned(plan)
    assert made.cost is not None
    assert made.fingerprint == plan.fingerprint
    assert [event["event"] for event in events] == ["measured"]
    assert events[0]["workers"] == made.train.stages[0].workers[1]

    # Nothing is started a second time.
    monkeypatch.setattr(measuring.subprocess, "Popen", lambda *_, **__: pytest.fail("measured"))
    again, _ = tuned(plan)
    assert again.cost == made.cost


@pytest.mark.parametrize("damage", ["", "{", '{"order": 3, "cost": []}', "[]"])
def test_a_damaged_file_is_measured_anew(
    tmp_path: Path, data: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "_PATIENCE_S", 60.0)
    plan = a_plan(tmp_path, data)
    path = open_run(plan).path / COST_FILE
    path.write_text(damage)
    made, _ = tuned(plan)
    assert made.cost is not None
    assert json.loads(path.read_text())["order"] == plan.fingerprint.digest


@pytest.mark.parametrize(
    ("use", "patience_s", "reason"),
    [
        ({"use": "tests.support.transforms:take_long", "with": {"row_s": 5}}, 0.1, "too long"),
        (
            {"use": "tests.support.transforms:take_long", "with": {"row_s": "x"}},
            60.0,
            "failed on row",
        ),
    ],
    ids=["slow", "broken"],
)
def test_rows_that_are_slow_or_cannot_be_measured_do_not_hold_up_a_run(
    tmp_path: Path,
    data: Path,
    use: dict[str, object],
    patience_s: float,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(measuring, "_PATIENCE_S", patience_s)
    plan = a_plan(tmp_path, data, use)
    made, events = tuned(plan)
    assert made is plan
    assert [event["event"] for event in events] == ["not-measured"]
    assert reason in str(events[0]["reason"])
