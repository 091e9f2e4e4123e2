"""How many training workers a plan takes of a range."""

from collections.abc import Mapping

import pytest
from pydantic import ValidationError

from orchestrator.errors import PlanError
from orchestrator.plan.elastic import room_for
from orchestrator.plan.placement import Node
from orchestrator.plan.render import render_json, render_text
from orchestrator.plan.resources import ClusterCapacity
from orchestrator.spec.dump import dump_job
from orchestrator.spec.scaling import ScalingSpec
from tests.support.plans import make_plan, make_spec

RANGE: Mapping[str, object] = {"workers": {"min": 1, "max": 4}, "preprocessing": {"workers": 1}}


def nodes(*cpus: float) -> ClusterCapacity:
    return ClusterCapacity(
        cpus=sum(cpus),
        gpus=0,
        cores=max(1, int(sum(cpus))),
        embedded=False,
        nodes=tuple(Node(cpus=each, gpus=0) for each in cpus),
    )


def test_a_number_stands_for_a_range_and_is_written_as_it_was() -> None:
    fixed, elastic = make_spec(scaling={"workers": 3}), make_spec(scaling=RANGE)
    assert (fixed.scaling.workers, fixed.scaling.elastic) == ((3, 3), False)
    assert (elastic.scaling.workers, elastic.scaling.elastic) == ((1, 4), True)
    assert "  workers: 3\n" in dump_job(fixed)
    assert "  workers:\n    min: 1\n    max: 4\n" in dump_job(elastic)


@pytest.mark.parametrize(
    "workers",
    [
        0,
        True,
        2.0,
        "2",
        [1, 2],
        {"min": 2, "max": 1},
        {"min": 0, "max": 1},
        {"min": 1},
        {"min": 1, "max": 2, "most": 3},
        {"min": 1, "max": 2.0},
    ],
)
def test_what_is_no_range_is_refused(workers: object) -> None:
    with pytest.raises(ValidationError, match=r"or \{min: n, max: m\} with 1 <= n <= m"):
        ScalingSpec.model_validate({"workers": workers})


@pytest.mark.parametrize(
    ("capacity", "workers"),
    [
        # A CPU for the preprocessing and one for the numbering of its windows come first.
        (nodes(3), 1),
        (nodes(5), 3),
        (nodes(2, 2, 2), 4),
        (nodes(100), 4),
    ],
)
def test_as_many_workers_are_taken_as_fit_beside_the_preprocessing(
    capacity: ClusterCapacity, workers: int
) -> None:
    plan = make_plan(make_spec(scaling=RANGE), capacity=capacity)
    assert plan.workers == workers
    assert plan.resources.needs[0].most == workers
    assert not plan.resources.problems()


def test_a_worker_needs_a_node_of_its_size() -> None:
    scaling = {**RANGE, "cpus_per_worker": 2}
    assert make_plan(make_spec(scaling=scaling), capacity=nodes(4, 3, 1)).workers == 3
    assert make_plan(make_spec(scaling=scaling), capacity=nodes(3, 3, 1, 1)).workers == 2


def test_without_room_for_the_fewest_there_is_no_plan() -> None:
    with pytest.raises(PlanError, match=r"the job needs 4 CPUs \(training: 2; .* has 3"):
        make_plan(make_spec(scaling={**RANGE, "workers": {"min": 2, "max": 4}}), capacity=nodes(3))


def test_more_workers_than_lanes_are_refused_even_if_the_cluster_has_no_room_for_them() -> None:
    spec = make_spec(scaling={**RANGE, "workers": {"min": 1, "max": 13}})
    with pytest.raises(PlanError, match=r"scaling.workers is 13, .* 12 lanes"):
        make_plan(spec, capacity=nodes(4))


def test_a_plan_for_another_cluster_has_the_same_batches_and_other_workers() -> None:
    plan = make_plan(make_spec(scaling=RANGE), capacity=nodes(3))
    larger = plan.on(nodes(3, 2))
    assert (plan.workers, larger.workers) == (1, 3)
    assert larger.fingerprint == plan.fingerprint
    assert larger.train.geometry == plan.train.geometry
    assert plan.on(nodes(3, 2), most=2).workers == 2
    assert larger.on(nodes(3)).workers == 1
    with pytest.raises(PlanError):
        larger.on(nodes(2))


def test_pools_that_are_left_open_leave_the_room_to_the_training_workers() -> None:
    scaling = {"workers": {"min": 1, "max": 4}}
    plan = make_plan(make_spec(scaling=scaling), capacity=nodes(6))
    assert [need.most for need in plan.resources.needs[:2]] == [4, 1]
    assert [need.most for need in plan.on(nodes(9)).resources.needs[:2]] == [4, 4]
    assert [need.most for need in plan.on(nodes(3)).resources.needs[:2]] == [1, 1]


def test_the_plan_shows_the_range_and_what_there_is_room_for() -> None:
    plan = make_plan(make_spec(scaling=RANGE), capacity=nodes(4))
    assert "workers         1 to 4: the cluster has room for 2 now; more" in render_text(plan)
    shown = render_json(plan)
    assert (shown["workers"], shown["workers_range"]) == (2, [1, 4])
    assert "1 to 4" not in render_text(make_plan(make_spec()))


def test_room_for_more_is_what_is_free_on_single_nodes() -> None:
    scaling = ScalingSpec.model_validate({"workers": {"min": 1, "max": 9}, "cpus_per_worker": 2})
    free = [Node(cpus=3, gpus=0), Node(cpus=1, gpus=0), Node(cpus=5, gpus=0)]
    assert room_for(scaling, free, most=8) == 3
    assert room_for(scaling, free, most=2) == 2
    assert room_for(scaling, [], most=8) == 0
