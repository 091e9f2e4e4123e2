"""A rewind is recorded, bounded, and leaves out the step that spoilt the training."""

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.errors import CheckpointError, JobFailedError, NotFiniteError
from orchestrator.jsonl import JsonLinesWriter, read_json_lines
from orchestrator.plan.job import JobPlan
from orchestrator.run.failure import Failure
from orchestrator.run.rewind import REWINDS_FILE, read_rewinds, rewind, skipped_places
from tests.support.training import make_plan

Rewinding = Callable[[NotFiniteError], bool]


def failure(cause: JobFailedError) -> Failure:
    return Failure(reason=str(cause), step=0, cause=cause)


def spoilt(place: int | None, frees: int | None = None) -> NotFiniteError:
    return NotFiniteError("the loss became nan", place=place, rows=(7, 9), frees=frees)


def plan_of(folder: Path, **training: object) -> JobPlan:
    return make_plan(folder, training={"on_nan": "rewind", "max_rewinds": 2, **training})


def test_each_rewind_leaves_one_more_step_out_until_the_budget_is_spent(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    with JsonLinesWriter(tmp_path / "events.jsonl") as events:
        for attempt, place in ((1, 12), (2, 30)):
            assert rewind(plan, tmp_path, failure(spoilt(place)), attempt, events)
        with pytest.raises(JobFailedError, match="became nan") as caught:
            rewind(plan, tmp_path, failure(spoilt(31)), 3, events)
    assert "training.max_rewinds (2) is used up: step 13, 31 left out so far" in str(caught.value)
    found = read_rewinds(tmp_path)
    assert skipped_places(found) == {12, 30}
    assert [(each.attempt, each.rows) for each in found] == [(1, (7, 9)), (2, (7, 9))]
    told = read_json_lines(tmp_path / "events.jsonl")
    assert [(e["event"], e["step"], e["rewinds"]) for e in told] == [
        ("rewound", 13, 1),
        ("rewound", 31, 2),
    ]


def test_a_step_that_was_left_out_for_the_one_before_is_trained_again(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    with JsonLinesWriter(tmp_path / "events.jsonl") as events:
        assert rewind(plan, tmp_path, failure(spoilt(12)), 1, events)
        assert rewind(plan, tmp_path, failure(spoilt(11, frees=12)), 2, events)
    assert skipped_places(read_rewinds(tmp_path)) == {11}


@pytest.mark.parametrize(
    ("on_nan", "cause"),
    [
        ("stop", spoilt(3)),
        ("rewind", spoilt(None)),
        ("rewind", JobFailedError("something else")),
    ],
)
def test_otherwise_the_run_ends(on_nan: str, cause: JobFailedError, tmp_path: Path) -> None:
    with JsonLinesWriter(tmp_path / "events.jsonl") as events:
        plan = plan_of(tmp_path, on_nan=on_nan)
        assert not rewind(plan, tmp_path, failure(cause), 1, events)
    assert read_rewinds(tmp_path) == ()


def test_a_damaged_record_of_rewinds_is_named(tmp_path: Path) -> None:
    (tmp_path / REWINDS_FILE).write_text('[{"place": ')
    with pytest.raises(CheckpointError, match=r"rewinds.json does not say which steps"):
        read_rewinds(tmp_path)
