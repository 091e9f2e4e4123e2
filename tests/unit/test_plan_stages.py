"""Transforms grouped into stages, and what the stages need."""

import pytest

from orchestrator.plan.resources import (
    ClusterCapacity,
    Need,
    ResourcePlan,
    auto_workers,
    stage_needs,
)
from orchestrator.plan.stages import Stage, make_stages
from orchestrator.plan.tuning import Tuning
from orchestrator.spec.scaling import PoolSpec
from orchestrator.spec.transform import Split, TransformSpec
from tests.support.plans import make_plan, make_spec

TUNING = Tuning(cpus=1.0, tasks_in_flight=6)


def t(name: str, **fields: object) -> TransformSpec:
    return TransformSpec.model_validate({"use": f"pkg.code:{name}", **fields})


def stages_of(*transforms: TransformSpec, split: Split = "train") -> tuple[Stage, ...]:
    return make_stages(transforms, split=split, pool=PoolSpec(), auto_workers=3, tuning=TUNING)


def names(stages: tuple[Stage, ...]) -> list[str]:
    return [" ".join(spec.use.partition(":")[2] for spec in stage.transforms) for stage in stages]


@pytest.mark.parametrize(
    ("transforms", "grouped"),
    [
        ([], [""]),
        ([t("a"), t("b")], ["a b"]),
        ([t("a", cpus=1.0)], ["", "a"]),
        ([t("a"), t("b", gpus=1.0), t("c")], ["a", "b", "c"]),
        ([t("a"), t("b", workers=2), t("c", cpus=2.0), t("d"), t("e")], ["a", "b", "c", "d e"]),
        ([t("a", splits=["validation"]), t("b")], ["b"]),
        ([t("a"), t("b", cpus=1.0, splits=["validation"]), t("c")], ["a c"]),
    ],
)
def test_neighbours_share_a_pool_unless_one_asks_for_its_own(
    transforms: list[TransformSpec], grouped: list[str]
) -> None:
    assert names(stages_of(*transforms)) == grouped


def test_a_split_has_the_transforms_meant_for_it() -> None:
    both, train = t("both"), t("train", splits=["train"])
    assert names(stages_of(both, train, split="train")) == ["both train"]
    assert names(stages_of(both, train, split="validation")) == ["both"]


def test_a_transform_keeps_its_number_among_those_of_training_in_every_split() -> None:
    transforms = [
        t("a", splits=["train"]),
        t("b", splits=["validation"]),
        t("c", workers=2),
        t("d"),
    ]
    train, validation = (stages_of(*transforms, split=split) for split in ("train", "validation"))
    assert [stage.positions for stage in train] == [(1,), (2,), (3,)]
    assert [stage.positions for stage in validation] == [(0,), (2,), (3,)]


def test_a_pool_of_its_own_takes_what_it_names_and_the_rest_from_the_reading_pool() -> None:
    pool = PoolSpec(workers=(2, 4), cpus=0.5, tasks_in_flight=3)
    transforms = [t("a"), t("b", gpus=1.0), t("c", cpus=2.0, workers=[1, 5])]
    tuning = Tuning(cpus=0.5, tasks_in_flight=3)
    read, own, both = make_stages(
        transforms, split="train", pool=pool, auto_workers=1, tuning=tuning
    )
    assert (read.cpus, read.gpus, read.workers, read.most_cpus) == (0.5, 0.0, (2, 4), 2.0)
    assert (own.cpus, own.gpus, own.workers, own.most_gpus) == (0.5, 1.0, (2, 4), 4.0)
    assert (both.cpus, both.gpus, both.workers, both.most_cpus) == (2.0, 0.0, (1, 5), 10.0)
    assert {stage.tasks_in_flight for stage in (read, own, both)} == {3}


def test_a_stream_needs_its_pools_and_the_task_that_numbers_windows() -> None:
    needs = stage_needs(stages_of(t("a"), t("b", workers=[1, 2])), what="preprocessing")
    assert [(need.what, need.count, need.cpus) for need in needs] == [
        ("preprocessing", "3", 3.0),
        ("preprocessing, stage 2", "1 to 2", 2.0),
        ("preprocessing, numbering", "1", 1.0),
    ]


@pytest.mark.parametrize(
    ("cpus", "gpus", "problems"),
    [
        (4.0, 1.0, []),
        (3.5, 1.0, ["the job needs 4 CPUs (training: 3; reading: 1), the cluster has 3.5"]),
        (4.0, 0.0, ["the job needs 1 GPU (training: 1), the cluster has 0"]),
    ],
)
def test_what_a_cluster_lacks_is_said_with_the_shares(
    cpus: float, gpus: float, problems: list[str]
) -> None:
    needs = (
        Need(what="training", cpus_each=3.0, gpus_each=1.0),
        Need(what="reading", cpus_each=1.0),
    )
    capacity = ClusterCapacity(cpus=cpus, gpus=gpus, cores=1, embedded=False)
    assert ResourcePlan(needs=needs, capacity=capacity).problems() == problems


def test_tenths_of_a_cpu_add_up_without_rounding_errors() -> None:
    needs = tuple(Need(what=str(n), cpus_each=0.1, gpus_each=0.1) for n in range(3))
    capacity = ClusterCapacity(cpus=0.3, gpus=0.3, cores=1, embedded=False)
    assert ResourcePlan(needs=needs, capacity=capacity).problems() == []


@pytest.mark.parametrize(
    ("cpus", "cores", "taken", "pools", "workers"),
    [
        (8, 8, 3, [1.0], 5),
        (8, 2, 3, [1.0], 2),
        (8, 8, 3, [1.0, 1.0], 2),
        (8, 8, 3, [1.0, 2.0], 1),
        (8, 8, 2.4, [0.7], 8),
        (2, 8, 5, [1.0], 1),
        (8, 8, 3, [], 1),
    ],
)
def test_an_open_pool_gets_a_worker_a_core_as_far_as_they_fit(
    cpus: float, cores: int, taken: float, pools: list[float], workers: int
) -> None:
    capacity = ClusterCapacity(cpus=cpus, gpus=0, cores=cores, embedded=False)
    stages = [
        Stage(transforms=(), positions=(), cpus=of_each, gpus=0, workers=(0, 0), tasks_in_flight=1)
        for of_each in pools
    ]
    fixed = [Need(what="training", cpus_each=taken)]
    assert (
        auto_workers(capacity=capacity, taken=fixed, pools=stages, most=capacity.cores) == workers
    )


def test_an_open_pool_leaves_room_for_the_pools_that_name_their_workers() -> None:
    capacity = ClusterCapacity(cpus=10, gpus=0, cores=16, embedded=False)
    spec = make_spec(transforms=[{"use": "pkg.code:slow", "workers": 2, "cpus": 2}])
    plan = make_plan(spec, capacity=capacity)
    # 2 train, 1 numbers, 2 x 2 are slow: three are left.
    assert [stage.workers for stage in plan.train.stages] == [(3, 3), (2, 2)]
    assert plan.resources.cpus == 10
