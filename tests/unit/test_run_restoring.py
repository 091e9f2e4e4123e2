"""A run brought back from its mirror: which one, which checkpoint, and when not."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.errors import CheckpointError
from orchestrator.jsonl import read_json_lines
from orchestrator.plan.job import JobPlan
from orchestrator.run import restoring
from orchestrator.run.directory import RunDirectory, open_run
from orchestrator.run.restoring import IDENTITY_FILE, mirroring, restore
from tests.support.mirrors import QUICK, save, told
from tests.support.training import make_plan


@pytest.fixture
def plan(tmp_path: Path) -> JobPlan:
    plan = make_plan(tmp_path)
    kept = plan.spec.checkpoint.model_copy(
        update={"mirror": str(tmp_path / "mirror"), "keep_latest": 3}
    )
    return replace(plan, spec=plan.spec.model_copy(update={"checkpoint": kept}))


def run_once(plan: JobPlan, *steps: int) -> RunDirectory:
    directory = open_run(plan)
    with mirroring(plan, directory, still_ours=lambda: None):
        for step in steps:
            save(directory.checkpoints, step)
    return directory


def bring_back(plan: JobPlan) -> list[str]:
    directory, said = open_run(plan), list[str]()
    restore(plan, directory, say=said.append)
    return said


def damage(tmp_path: Path, step: int, change: Callable[[bytes], bytes]) -> None:
    file = next((tmp_path / "mirror").rglob(f"step-{step:09d}-001/model.bin"))
    file.write_bytes(change(file.read_bytes()))


def test_a_lost_run_comes_back_with_its_newest_checkpoint_and_its_records(plan: JobPlan) -> None:
    directory = run_once(plan, 1, 2)
    identity = (directory.path / IDENTITY_FILE).read_bytes()
    shutil.rmtree(directory.path)
    (said,) = bring_back(plan)
    assert said.startswith("restored step-000000002-001 from ")
    newest, _ = directory.checkpoints.newest_valid()
    assert newest is not None
    assert newest.name == "step-000000002-001"
    assert told(directory)[-1] == "restored"
    assert (directory.path / IDENTITY_FILE).read_bytes() == identity
    assert not (directory.path / ".restoring").exists()


@pytest.mark.parametrize("change", [lambda old: b"W" + old[1:], lambda old: old[1:]])
def test_a_damaged_copy_is_told_of_and_the_one_before_taken(
    tmp_path: Path, plan: JobPlan, change: Callable[[bytes], bytes]
) -> None:
    directory = run_once(plan, 1, 2)
    shutil.rmtree(directory.path)
    damage(tmp_path, 2, change)
    (said,) = bring_back(plan)
    assert "restored step-000000001-001" in said
    event = next(e for e in read_json_lines(directory.events) if e["event"] == "mirror-damaged")
    assert event["name"] == "step-000000002-001"
    assert "model.bin has" in str(event["reason"])


def test_where_all_copies_are_damaged_nothing_starts_from_scratch(
    tmp_path: Path, plan: JobPlan
) -> None:
    directory = run_once(plan, 1)
    shutil.rmtree(directory.path)
    damage(tmp_path, 1, lambda old: old[1:])
    with pytest.raises(CheckpointError, match=r"no checkpoint in .*mirror.* can be trusted"):
        bring_back(plan)


def test_a_run_that_has_checkpoints_is_left_as_it_is(plan: JobPlan) -> None:
    run_once(plan, 1)
    assert bring_back(plan) == []


def test_a_run_whose_own_checkpoints_are_damaged_is_left_to_its_own_rules(plan: JobPlan) -> None:
    directory = run_once(plan, 1)
    (info,) = directory.checkpoints.committed()
    (info.path / "model.bin").write_bytes(b"")
    with pytest.raises(CheckpointError, match="can be trusted"):
        directory.checkpoints.newest_valid()
    assert bring_back(plan) == []


def test_a_run_that_was_set_aside_does_not_come_back_in_place_of_a_fresh_one(plan: JobPlan) -> None:
    directory = run_once(plan, 1)
    old = directory.path.with_name(f"{directory.path.name}.old-001")
    directory.path.rename(old)
    assert bring_back(plan) == []
    run_once(plan, 2)
    shutil.rmtree(directory.path)
    (said,) = bring_back(plan)
    assert "step-000000002-001" in said


def test_the_newest_run_of_a_name_is_taken(plan: JobPlan) -> None:
    for number, step in enumerate((1, 2)):
        directory = open_run(plan)
        name = f"2026010{number + 1}T000000-aaaaaaaa"
        (directory.path / IDENTITY_FILE).write_text(json.dumps({"id": name}))
        run_once(plan, step)
        shutil.rmtree(directory.path)
    (said,) = bring_back(plan)
    assert "step-000000002-001" in said


def test_a_mirror_that_cannot_be_read_is_an_error_and_no_fresh_start(
    tmp_path: Path, plan: JobPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mirror").symlink_to("mirror")
    monkeypatch.setattr(restoring, "RETRIES", QUICK)
    with pytest.raises(CheckpointError, match=r"cannot list .*mirror"):
        bring_back(plan)


def test_without_a_mirror_nothing_is_written_or_read(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    directory = run_once(plan, 1)
    restore(plan, directory, say=pytest.fail)
    assert not (directory.path / IDENTITY_FILE).exists()
