"""A run does not go on when its rows are others, and says which of them are."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.checkpoint.manifest import FileEntry, Manifest
from orchestrator.errors import PlanError, SpecError
from orchestrator.plan.job import JobPlan
from orchestrator.run.changes import DATA_FILE, check_strategy, check_unchanged
from orchestrator.run.describe import describe_run
from orchestrator.run.directory import open_run
from orchestrator.run.planning import plan_job
from orchestrator.spec.job import JobSpec
from tests.support.plans import LARGE

CODE = """\
from orchestrator import TrainTask
class Task(TrainTask):
    def build_model(self): ...
    def loss(self, model, batch): ...
"""


def write(folder: Path, number: int, values: list[float], **more: object) -> None:
    folder.mkdir(exist_ok=True)
    table = pa.table({"x": pa.array(values, pa.float32()), **more})
    pq.write_table(table, folder / f"part-{number}.parquet")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three files of ten rows, a task, and a transform in a package."""
    for number in range(3):
        write(tmp_path / "train", number, list(np.arange(10.0) + number))
    package = tmp_path / f"code_{tmp_path.name}"
    package.mkdir()
    (package / "shifts.py").write_text("def shift(batch, by=1): return batch\n")
    (package / "task.py").write_text(CODE)
    return tmp_path


def plan_of(root: Path, **sections: object) -> JobPlan:
    package = f"code_{root.name}"
    job = {
        "name": "job",
        "dataset": {"train": {"paths": "train"}},
        "transforms": [{"use": f"{package}.shifts:shift", "with": {"by": 2}}],
        "training": {"task": f"{package}.task:Task", "epochs": 1, "global_batch_size": 5},
        "runtime": {"working_dir": str(root)},
        **sections,
    }
    return plan_job(JobSpec.model_validate(job), capacity=LARGE)


def begun(root: Path) -> Mapping[str, str]:
    """What a checkpoint of the run as it is would remember."""
    plan = plan_of(root)
    describe_run(plan, open_run(plan))
    return plan.fingerprint.parts


def refusal(parts: Mapping[str, str], plan: JobPlan) -> list[str]:
    """The lines of what changed, without the transforms' package, which is named anew each time."""
    with pytest.raises(PlanError, match="cannot go on from its checkpoint") as caught:
        check_unchanged(parts, plan)
    assert caught.value.exit_code == 2
    assert caught.value.hint is not None
    assert "--fresh" in caught.value.hint
    assert "--name" in caught.value.hint
    package = f"code_{plan.run_dir.parents[1].name}"
    return [line.strip().replace(package, "pkg") for line in str(caught.value).splitlines()[1:]]


def test_an_unchanged_job_goes_on_also_elsewhere(root: Path) -> None:
    parts = begun(root)
    check_unchanged(parts, plan_of(root))
    check_unchanged(parts, plan_of(root, seed=0, scaling={"workers": 2}))


def test_a_file_of_as_many_rows_with_other_content_is_named(root: Path) -> None:
    parts = begun(root)
    write(root / "train", 1, [9.0] * 10)
    assert refusal(parts, plan_of(root)) == ["data: train/part-1.parquet is changed"]


def test_files_that_are_new_and_gone_are_named(root: Path) -> None:
    parts = begun(root)
    (root / "train" / "part-0.parquet").unlink()
    write(root / "train", 8, [1.0])
    assert refusal(parts, plan_of(root)) == [
        "data: train/part-8.parquet is new; train/part-0.parquet is gone"
    ]


def test_other_columns_are_named(root: Path) -> None:
    parts = begun(root)
    for number in range(3):
        write(root / "train", number, [1.0] * 10, y=np.arange(10))
    (line,) = refusal(parts, plan_of(root))
    assert line.startswith("data: 3 files (")
    assert line.endswith(") are changed; column 'y' is new")


def test_code_and_arguments_of_a_transform_are_named(root: Path) -> None:
    parts = begun(root)
    shifts = root / f"code_{root.name}" / "shifts.py"
    shifts.write_text("def shift(batch, by=1): return dict(batch)\n")
    use = f"code_{root.name}.shifts:shift"
    assert refusal(parts, plan_of(root, transforms=[{"use": use, "with": {"by": 3}}])) == [
        'transform 1 (pkg.shifts:shift), arguments was {"by": 2}, is now {"by": 3}',
        "transform 1 (pkg.shifts:shift): pkg/shifts.py changed",
    ]
    gone = refusal(parts, plan_of(root, transforms=[]))
    assert gone == ["transform 1 (pkg.shifts:shift) is gone"]


MIXTURE = {
    "first": {"paths": "train/part-0.parquet", "weight": 0.25},
    "rest": {"paths": "train/part-[12].parquet", "weight": 0.75},
}


def test_files_and_weights_of_a_mixture_are_named(root: Path) -> None:
    plan = plan_of(root, dataset={"train": {"sources": MIXTURE}})
    describe_run(plan, open_run(plan))
    check_unchanged(plan.fingerprint.parts, plan)
    write(root / "train", 1, [9.0] * 10)
    sources = {**MIXTURE, "first": {"paths": "train/part-0.parquet", "weight": 0.75}}
    changed = plan_of(root, dataset={"train": {"sources": sources}})
    assert refusal(plan.fingerprint.parts, changed) == [
        "data: train/part-1.parquet is changed",
        "weights from row 0 was first 0.25, rest 0.75, is now first 0.5, rest 0.5",
    ]


def test_one_source_that_becomes_a_mixture_is_named(root: Path) -> None:
    parts = begun(root)
    mixed = plan_of(root, dataset={"train": {"sources": MIXTURE}})
    assert refusal(parts, mixed) == ["sources is new", "weights from row 0 is new"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"digest": "of another"}', None])
def test_without_a_record_of_the_files_the_change_is_still_told(
    root: Path, content: str | None
) -> None:
    parts = begun(root)
    record = plan_of(root).run_dir / DATA_FILE
    record.unlink()
    if content is not None:
        record.write_text(content)
    write(root / "train", 1, [9.0] * 10)
    assert refusal(parts, plan_of(root)) == ["data: the files of dataset.train changed"]


def test_data_that_was_copied_with_the_job_is_the_same(root: Path, tmp_path: Path) -> None:
    parts = begun(root)
    shutil.copytree(root / "train", root / "copy")
    dataset = {"train": {"paths": "copy"}}
    (line,) = refusal(parts, plan_of(root, dataset=dataset))
    assert "are new" in line
    assert "are gone" in line


@pytest.mark.parametrize(
    ("transforms", "message"),
    [
        ([{"use": "drop", "kind": "filter"}], r"drop draws random numbers, but changes the number"),
        (
            ["noise", {"use": "keep", "kind": "filter"}],
            r"noise draws random numbers, but comes before \S+keep, which changes",
        ),
    ],
)
def test_chance_in_what_decides_the_number_of_rows_is_refused(
    root: Path, transforms: list[object], message: str
) -> None:
    package = f"code_{root.name}"
    (root / package / "chance.py").write_text(
        "def drop(batch, rng): ...\ndef noise(batch, rng): ...\ndef keep(batch): ...\n"
    )
    named = [{**(item if isinstance(item, dict) else {"use": item})} for item in transforms]
    for item in named:
        item["use"] = f"{package}.chance:{item['use']}"
    with pytest.raises(SpecError, match=message):
        plan_of(root, transforms=named)
    # After it, it may.
    plan_of(root, transforms=[*reversed(named)] if len(named) > 1 else [])


@pytest.mark.parametrize(("was", "now"), [("ddp", "fsdp"), ("fsdp", "ddp")])
def test_another_strategy_is_refused_by_name(was: str, now: str, root: Path) -> None:
    path = {"ddp": "state.pt", "fsdp": "shards/__0_0.distcp"}[was]
    written = Manifest(
        name="step-000000004-001",
        attempt=1,
        step=4,
        cursor={},
        metrics={},
        order_fingerprint="",
        parts={},
        versions={},
        files=(FileEntry(path=path, size=1, sha256="0" * 64),),
    )
    task = f"code_{root.name}.task:Task"
    training = {"task": task, "epochs": 1, "global_batch_size": 5}
    check_strategy(written, plan_of(root, training={**training, "strategy": was}))
    with pytest.raises(PlanError, match=f"strategy: {was}, and this is {now}"):
        check_strategy(written, plan_of(root, training={**training, "strategy": now}))
