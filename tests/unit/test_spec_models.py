"""Spec models built from Python."""

import math
import pickle

import pytest
from pydantic import ValidationError

from orchestrator.spec import (
    AdamW,
    Constant,
    Cosine,
    DatasetSpec,
    FragmentShuffle,
    JobSpec,
    NoShuffle,
    PoolSpec,
    ScalingSpec,
    Sgd,
    SourceSpec,
    TrainingSpec,
    TransformSpec,
    ValidationPoolSpec,
    WindowShuffle,
)
from orchestrator.spec.failure import FailureSpec
from orchestrator.units import Interval


def training(**fields: object) -> TrainingSpec:
    defaults = {"task": "code_of.user:Task", "epochs": 1, "global_batch_size": 8}
    return TrainingSpec.model_validate({**defaults, **fields})


def source() -> SourceSpec:
    return SourceSpec(paths=("data",))


def test_defaults_are_those_of_the_reference() -> None:
    job = JobSpec(name="job", dataset=DatasetSpec(train=source()), training=training())
    assert job.seed == 0
    assert job.transforms == ()
    assert job.dataset.shuffle == WindowShuffle(rows="auto")
    assert job.training.optimizer == AdamW(lr=1e-3, weight_decay=0.01, betas=(0.9, 0.999), eps=1e-8)
    assert job.training.schedule == Constant(warmup_steps=0)
    assert job.training.validate_every == Interval(epochs=1)
    assert job.scaling.preprocessing == PoolSpec(
        workers="auto", cpus="auto", tasks_in_flight="auto"
    )
    assert job.scaling.validation.workers == (1, 1)
    assert job.checkpoint.every == Interval(seconds=300.0)
    assert job.failure.worker_restarts == 3
    assert job.runtime.object_store == "auto"


def test_a_spec_is_frozen_and_survives_pickling() -> None:
    job = JobSpec(name="job", dataset=DatasetSpec(train=source()), training=training())
    with pytest.raises(ValidationError, match="frozen"):
        job.name = "other"  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(job)) == job


def test_one_path_stands_for_a_list_of_one() -> None:
    assert SourceSpec.model_validate({"paths": "data"}) == source()


@pytest.mark.parametrize(
    ("text", "shuffle"),
    [("none", NoShuffle()), ("fragments", FragmentShuffle()), ("window", WindowShuffle())],
)
def test_a_bare_text_stands_for_a_shuffle(text: str, shuffle: object) -> None:
    dataset = DatasetSpec.model_validate({"train": {"paths": "data"}, "shuffle": text})
    assert dataset.shuffle == shuffle


def test_a_bare_text_stands_for_a_schedule_and_a_transform() -> None:
    assert training(schedule="cosine").schedule == Cosine()
    job = JobSpec.model_validate(
        {
            "name": "job",
            "dataset": {"train": source()},
            "training": training(),
            "transforms": ["mine:f", TransformSpec(use="mine:g", with_={"shift": 1})],
        }
    )
    assert job.transforms[0] == TransformSpec(use="mine:f")
    assert job.transforms[1].with_ == {"shift": 1}


def test_options_without_a_type_mean_the_default_type() -> None:
    assert training(optimizer={"lr": 0.5}).optimizer == AdamW(lr=0.5)
    assert training(schedule={"warmup_steps": 5}).schedule == Constant(warmup_steps=5)


@pytest.mark.parametrize(
    ("fields", "own"),
    [({}, False), ({"cpus": 1.0}, True), ({"gpus": 0.5}, True), ({"workers": 2}, True),
     ({"batch_rows": 4}, False)],
)  # fmt: skip
def test_asking_for_resources_asks_for_a_pool(fields: dict[str, object], own: bool) -> None:
    assert TransformSpec.model_validate({"use": "mine:f", **fields}).has_own_pool is own


def test_a_number_of_workers_stands_for_a_range() -> None:
    assert PoolSpec.model_validate({"workers": 3}).workers == (3, 3)
    assert PoolSpec.model_validate({"workers": [1, 4]}).workers == (1, 4)
    assert ValidationPoolSpec.model_validate({"cpus": 2}).workers == (1, 1)


@pytest.mark.parametrize("workers", [0, -1, True, 1.0, [2, 1], [0, 1], [1], [1, 2, 3], "2", None])
def test_what_is_no_range_of_workers_is_refused(workers: object) -> None:
    with pytest.raises(ValidationError):
        PoolSpec.model_validate({"workers": workers})


def test_a_job_has_exactly_one_length() -> None:
    with pytest.raises(ValidationError, match=r"epochs and steps .*\(epochs: 1, steps: 2\)"):
        training(steps=2)
    with pytest.raises(ValidationError, match="epochs and steps must be set, and neither is"):
        training(epochs=None)
    assert training(epochs=None, steps=7).steps == 7


def test_nesterov_needs_momentum() -> None:
    with pytest.raises(ValidationError, match="nesterov: true needs a momentum above 0"):
        Sgd(lr=0.1, nesterov=True)
    assert Sgd(lr=0.1, nesterov=True, momentum=0.9).nesterov


def test_validation_by_the_clock_is_refused() -> None:
    with pytest.raises(ValidationError, match="clocks differ between workers"):
        training(validate_every="10m")


def test_lanes_divide_the_global_batch() -> None:
    dataset = DatasetSpec(train=source())
    with pytest.raises(ValidationError, match=r"lanes \(3\) must divide .*size \(8\)"):
        JobSpec(name="j", dataset=dataset, training=training(), scaling=ScalingSpec(lanes=3))
    job = JobSpec(name="j", dataset=dataset, training=training(), scaling=ScalingSpec(lanes=4))
    assert job.scaling.lanes == 4


@pytest.mark.parametrize(
    "fields",
    [{"epochs": True}, {"epochs": "1"}, {"epochs": 1.0}, {"epochs": 2**60}, {"clip_norm": math.inf},
     {"clip_norm": math.nan}, {"with": {"a": math.nan}}, {"with": {"a": [{"b": math.inf}]}},
     {"optimizer": {"betas": [0.9]}}, {"optimizer": {"betas": [0.9, 1.0]}}, {"unknown": 1}],
)  # fmt: skip
def test_values_of_another_kind_are_refused_and_not_converted(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        training(**fields)


@pytest.mark.parametrize(
    "fields", [{"paths": []}, {"paths": [""]}, {"paths": "a\0b"}, {"columns": []},
               {"columns": ["x", "x"]}, {"type": "csv"}]
)  # fmt: skip
def test_sources_that_name_nothing_or_twice_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SourceSpec.model_validate({"paths": "data", **fields})


@pytest.mark.parametrize("splits", [[], ["train", "train"], ["test"], "train"])
def test_splits_are_named_once_each(splits: object) -> None:
    with pytest.raises(ValidationError):
        TransformSpec.model_validate({"use": "mine:f", "splits": splits})


def test_a_job_trains_a_task_or_a_loop_of_its_own() -> None:
    assert training(task=None, loop="mine:train").loop == "mine:train"
    with pytest.raises(ValidationError, match=r"exactly one .* both are \(task: .*, loop: a:b\)"):
        training(loop="a:b")
    with pytest.raises(ValidationError, match=r"exactly one of task and loop .* neither is"):
        training(task=None)


@pytest.mark.parametrize(
    ("field", "value"),
    [("optimizer", "adamw"), ("schedule", {}), ("clip_norm", 1.0), ("micro_batch_size", 2)],
)
def test_a_loop_has_nothing_that_belongs_to_a_task(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=f"{field} belongs to a task, and training.loop is"):
        training(task=None, loop="mine:train", **{field: value})


def test_null_beside_a_loop_is_nothing() -> None:
    assert training(task=None, loop="mine:train", clip_norm=None).clip_norm is None


def test_a_hang_is_waited_for_a_second_at_least_or_not_at_all() -> None:
    assert FailureSpec().hang_timeout == 1200
    assert FailureSpec.model_validate({"hang_timeout": "1h30m"}).hang_timeout == 5400
    off = FailureSpec.model_validate({"hang_timeout": "off"})
    assert off.hang_timeout == "off"
    assert off.model_dump()["hang_timeout"] == "off"
    for timeout in ("500ms", 0, "never", True, None):
        with pytest.raises(ValidationError):
            FailureSpec.model_validate({"hang_timeout": timeout})
