"""What is said about nodes, lanes and columns before anything starts."""

from dataclasses import replace

import pytest

from orchestrator.errors import PlanError
from orchestrator.plan.index import Column, DatasetIndex
from orchestrator.plan.job import JobPlan
from orchestrator.plan.placement import Node
from orchestrator.plan.resources import ClusterCapacity
from tests.support.plans import make_index, make_plan, make_spec


def cluster(*cpus: float, gpus: float = 0, free: float | None = None) -> ClusterCapacity:
    """Nodes of so many CPUs; the last one has the GPUs."""
    nodes = [Node(cpus=number, gpus=0) for number in cpus]
    nodes[-1] = replace(nodes[-1], gpus=gpus)
    return ClusterCapacity(
        cpus=sum(cpus),
        gpus=gpus,
        cores=int(sum(cpus)),
        embedded=False,
        nodes=tuple(nodes),
        free=None if free is None else Node(cpus=free, gpus=gpus),
    )


def refusal(capacity: ClusterCapacity, **scaling: object) -> PlanError:
    with pytest.raises(PlanError) as caught:
        make_plan(make_spec(scaling=scaling), capacity=capacity)
    return caught.value


def test_a_training_worker_larger_than_any_node_is_refused() -> None:
    error = refusal(cluster(4, 4, 2), workers=1, cpus_per_worker=6)
    assert str(error) == (
        "training: a worker asks for 6 CPUs, and no node has that; there are 2 nodes of 4 CPUs,"
        " 1 node of 2 CPUs"
    )
    assert error.hint is None


def test_a_preprocessing_worker_larger_than_any_node_is_refused() -> None:
    error = refusal(cluster(4, 4), workers=1, preprocessing={"cpus": 5, "workers": 1})
    assert str(error).startswith("preprocessing: a worker asks for 5 CPUs, and no node has that")


def test_cpus_and_gpus_on_different_nodes_are_of_no_use_to_one_worker() -> None:
    error = refusal(cluster(8, 2, gpus=1), workers=1, cpus_per_worker=4, gpus_per_worker=1)
    assert str(error) == (
        "training: a worker asks for 4 CPUs and 1 GPU, and no node has that; there are"
        " 1 node of 2 CPUs and 1 GPU, 1 node of 8 CPUs"
    )


def test_workers_that_fit_alone_but_not_together_are_refused_with_the_number_that_fits() -> None:
    error = refusal(cluster(4, 4, 4), workers=4, cpus_per_worker=2.5)
    assert str(error).startswith("the workers do not fit on the nodes together (training: 4 x")
    assert error.hint == "scaling.workers: 3 fits"


def test_open_pools_take_what_the_nodes_have_room_for() -> None:
    # Three training workers leave 1.5 CPUs on each node: room for one of 1 CPU, not for 1.5.
    spec = make_spec(scaling={"workers": 3, "cpus_per_worker": 2.5})
    plan = make_plan(spec, capacity=cluster(4, 4, 4))
    assert plan.train.stages[0].workers == (2, 2)


def test_a_busy_cluster_is_a_warning() -> None:
    spec = make_spec(scaling={"workers": 2, "preprocessing": {"workers": 1}})
    assert make_plan(spec, capacity=cluster(4, 4, free=4)).warnings == ()
    (warning,) = make_plan(spec, capacity=cluster(4, 4, free=3)).warnings
    assert warning == (
        "the job needs 4 CPUs, of which 3 are free now, because others use the cluster: it waits"
        " until they let go of the rest"
    )


def plan_of_batch(batch: int, **scaling: object) -> JobPlan:
    spec = make_spec(training={"global_batch_size": batch}, scaling=scaling)
    return make_plan(spec, train=make_index((4000,)))


@pytest.mark.parametrize(
    ("batch", "scaling", "mends"),
    [
        (
            1009,
            {"workers": 2},
            "1 at most, or training.global_batch_size: 1008 or 1010, or scaling.lanes: 1009"
            " (lanes of 1 row)",
        ),
        (
            74,
            {"workers": 3},
            "2 at most, or training.global_batch_size: 72 or 75, or scaling.lanes: 37 (lanes of 2"
            " rows)",
        ),
        (64, {"workers": 3, "lanes": 2}, "2 at most, or scaling.lanes: 16 (lanes of 4 rows)"),
        (2, {"workers": 3}, "2 at most, or training.global_batch_size: 3"),
        (120, {"workers": 40}, "30 at most, or scaling.lanes: 40 (lanes of 3 rows)"),
    ],
)
def test_too_few_lanes_are_refused_with_what_would_do(
    batch: int, scaling: dict[str, object], mends: str
) -> None:
    with pytest.raises(PlanError) as caught:
        plan_of_batch(batch, **scaling)
    assert mends in str(caught.value)


def test_lanes_that_are_shared_unevenly_are_a_warning() -> None:
    (warning,) = plan_of_batch(51, workers=10, preprocessing={"workers": 1}).warnings
    assert warning == (
        "10 workers share 17 lanes unevenly: some take 2, others 1 and wait; better:"
        " training.global_batch_size: 40 or 60 or scaling.lanes: 51 (lanes of 1 row)"
    )
    assert plan_of_batch(60, workers=10).warnings == ()
    assert plan_of_batch(34, workers=3).warnings == ()


def test_a_batch_larger_than_the_data_is_a_warning() -> None:
    spec = make_spec(training={"global_batch_size": 128})
    (warning,) = make_plan(spec, train=make_index((50,))).warnings
    assert warning == (
        "training.global_batch_size is 128, but there are 50 rows: an epoch is one step of all of"
        " them"
    )


def with_columns(**types: str) -> DatasetIndex:
    columns = [Column(name=name, dtype=kind, has_nulls=False) for name, kind in types.items()]
    return replace(make_index(), columns=tuple(columns))


def test_a_column_of_another_type_in_the_validation_is_refused() -> None:
    message = r"^dataset\.validation: column 'x' is double, but int64 in dataset\.train$"
    with pytest.raises(PlanError, match=message):
        make_plan(
            train=with_columns(id="int64", x="int64"),
            validation=with_columns(id="int64", x="double"),
        )


def test_a_column_that_the_validation_lacks_is_a_warning() -> None:
    train, less = with_columns(id="int64", x="int64", y="int64"), with_columns(id="int64")
    (warning,) = make_plan(train=train, validation=less).warnings
    assert warning.startswith("dataset.validation has no column 'x', 'y', which dataset.train has")
    assert make_plan(train=less, validation=train).warnings == ()


@pytest.mark.parametrize(("rows", "warned"), [("all", True), (12, False)])
def test_a_relaxed_epoch_of_one_window_is_a_warning(rows: object, warned: bool) -> None:
    shuffle = {"type": "window", "rows": rows}
    plan = make_plan(make_spec(dataset={"order": "relaxed", "shuffle": shuffle}))
    assert any("nothing can overtake" in warning for warning in plan.warnings) == warned
