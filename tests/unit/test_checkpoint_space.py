"""Storage that cannot be written, or is too small, is told before anything starts."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.checkpoint.manifest import Manifest
from orchestrator.checkpoint.space import LEAST_BYTES, SCARCE_BYTES, check_space, check_storage
from orchestrator.checkpoint.store import CheckpointStore
from orchestrator.errors import CheckpointError
from orchestrator.plan.job import JobPlan
from tests.support.disks import mount, small_disk
from tests.support.plans import make_index, make_plan, make_spec

MIB = 1 << 20


def plan_in(storage: Path, *, epochs: int = 100, **checkpoint: object) -> JobPlan:
    """A plan of 9 steps an epoch."""
    settings = {"storage": str(storage), "every": "1 epoch", "keep_latest": 2, **checkpoint}
    dataset = {"validation": {"paths": "validation"}}
    spec = make_spec(training={"epochs": epochs}, checkpoint=settings, dataset=dataset)
    return make_plan(spec, validation=make_index())


def save(plan: JobPlan, step: int, size: int) -> None:
    """A checkpoint of so many bytes, which take no room."""
    store = CheckpointStore(plan.run_dir / "checkpoints")
    directory = store.stage(step, 1)
    with (directory / "state.pt").open("wb") as file:
        file.truncate(size)
    manifest = Manifest(
        name="",
        attempt=1,
        step=step,
        cursor={"epoch": 0, "step": step},
        metrics={},
        order_fingerprint="f",
        parts={},
        versions={},
    )
    store.commit(directory, manifest, fence=lambda: None)


def test_storage_that_can_be_made_or_written_is_left_as_it_is(tmp_path: Path) -> None:
    check_storage(tmp_path / "runs" / "job")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "runs" / "job").mkdir(parents=True)
    check_storage(tmp_path / "runs" / "job")


@pytest.mark.parametrize("place", ["runs", "runs/job"])
def test_a_file_in_the_place_of_the_storage_is_named(tmp_path: Path, place: str) -> None:
    file = tmp_path / place
    file.parent.mkdir(exist_ok=True)
    file.write_text("")
    message = rf"^cannot write to .*/runs/job: .*/{place} is a file, wanted a folder$"
    with pytest.raises(CheckpointError, match=message) as caught:
        check_storage(tmp_path / "runs" / "job")
    assert caught.value.exit_code == 4


def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(CheckpointError, match=r"runs/job: permission denied \(.*\)$"):
        check_storage(tmp_path / "runs" / "job")


def test_a_read_only_file_system_is_named(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", mib=1) as disk:
        assert mount("-o", "remount,ro", str(disk)).returncode == 0
        with pytest.raises(CheckpointError, match=r"the file system is read-only \(.*/disk\)$"):
            check_storage(disk / "runs" / "job")


def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", mib=16) as disk:
        with pytest.raises(CheckpointError, match=r"16MiB are free, 32MiB are needed at least"):
            check_space(plan_in(disk))
        assert list(disk.iterdir()) == []


def test_before_the_first_checkpoint_little_space_is_a_warning_and_none_an_error(
    tmp_path: Path,
) -> None:
    plan = plan_in(tmp_path)
    assert check_space(plan, free=SCARCE_BYTES) is None
    warning = check_space(plan, free=SCARCE_BYTES - 1)
    assert warning == f"the disk of {tmp_path}/job is nearly full: 256MiB are free"
    assert check_space(plan, free=LEAST_BYTES) is not None
    with pytest.raises(CheckpointError, match="too little space for the run in ") as caught:
        check_space(plan, free=LEAST_BYTES - 1)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("there", "checkpoint", "more"),
    [
        (1, {}, 2),
        (2, {}, 1),
        (4, {}, 1),
        (1, {"keep_latest": 5}, 5),
        (1, {"best": {"metric": "loss", "keep": 3}}, 5),
        # More than the run will make cannot be there at once.
        (1, {"keep_latest": 500, "every": "300 steps"}, 3),
        (1, {"keep_latest": 7, "every": "10m"}, 7),
        # 900 steps: three of them for ever.
        (1, {"keep_every": 300}, 5),
    ],
)
def test_room_is_needed_for_the_kept_checkpoints_that_are_still_to_come(
    tmp_path: Path, there: int, checkpoint: dict[str, object], more: int
) -> None:
    plan = plan_in(tmp_path, **checkpoint)
    for step in range(1, there + 1):
        save(plan, step, 100 * MIB)
    assert check_space(plan, free=more * 100 * MIB) is None
    with pytest.raises(CheckpointError, match=rf"needed for its checkpoints \({more} more of 100M"):
        check_space(plan, free=more * 100 * MIB - 1)


def test_a_finished_run_needs_no_room(tmp_path: Path) -> None:
    plan = plan_in(tmp_path, epochs=1)
    save(plan, plan.total_steps, 100 * MIB)
    assert check_space(plan, free=0) is None
    with pytest.raises(CheckpointError, match="too little space"):
        check_space(replace(plan, total_steps=plan.total_steps + 1), free=0)


def test_the_size_of_a_state_that_is_not_yet_saved_counts(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    assert check_space(plan, state_bytes=100 * MIB, free=300 * MIB) is None
    with pytest.raises(CheckpointError, match=r"\(3 more of 100MiB\)"):
        check_space(plan, state_bytes=100 * MIB, free=300 * MIB - 1)
