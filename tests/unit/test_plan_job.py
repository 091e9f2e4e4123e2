"""The job plan: how long the run is, when it validates, what it still needs, why it cannot be."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import PlanError
from orchestrator.plan.job import JobPlan
from orchestrator.plan.open_epoch import OpenEpoch
from orchestrator.plan.resources import ClusterCapacity
from tests.support.plans import make_index, make_plan, make_spec

EMBEDDED = ClusterCapacity(cpus=4, gpus=0, cores=2, embedded=True)


def plan_of(total: int, every: int = 10, **scaling: object) -> JobPlan:
    """A plan of 9 steps an epoch, with 4 steps in a validation."""
    spec = make_spec(
        training={"epochs": None, "steps": total, "validate_every": f"{every} steps"},
        scaling=scaling,
    )
    return make_plan(spec, validation=make_index((20, 21)))


@given(st.integers(1, 60), st.integers(1, 70))
def test_the_validations_until_a_step_are_those_that_were_due(total: int, every: int) -> None:
    plan = replace(make_base(), total_steps=total, validate_every=every)
    due = 0
    for step in range(1, total + 1):
        due += plan.validation_due(step)
        assert plan.validations_until(step) == due
    assert plan.validation_due(total)
    assert plan.validations_until(0) == 0


_base: list[JobPlan] = []


def make_base() -> JobPlan:
    if not _base:
        _base.append(plan_of(60))
    return _base[0]


def test_without_rows_set_aside_no_validation_is_due() -> None:
    plan = make_plan()
    assert not any(plan.validation_due(step) for step in range(1, plan.total_steps + 1))
    assert all(len(plan.streams_from(step)) == 1 for step in range(plan.total_steps))


@pytest.mark.parametrize("superblock_steps", [1, 2, 4, 9, 20])
@pytest.mark.parametrize(("total", "every"), [(1, 1), (9, 3), (20, 7), (27, 9), (25, 40)])
def test_the_streams_from_a_step_on_hold_just_what_is_left(
    total: int, every: int, superblock_steps: int
) -> None:
    plan = plan_of(total, every, superblock_steps=superblock_steps)
    geometry = plan.train.geometry
    assert geometry.steps_per_epoch == 9
    for step in range(total):
        (train, superblocks), *rest = plan.streams_from(step)
        assert train is plan.train
        first, last = geometry.superblock(superblocks[0]), geometry.superblock(superblocks[-1])
        begin, end = geometry.cursor(step), geometry.cursor(total - 1)
        assert first.epoch == begin.epoch
        assert begin.step in range(first.first_step, first.first_step + first.steps)
        assert last.epoch == end.epoch
        assert end.step in range(last.first_step, last.first_step + last.steps)

        assert plan.validation is not None
        passes = sum(plan.validation_due(later) for later in range(step + 1, total + 1))
        # The last step always ends with a validation.
        ((validation, wanted),) = rest
        assert validation is plan.validation
        per_pass = validation.geometry.superblocks_per_epoch
        assert len(wanted) == passes * per_pass
        assert validation.geometry.superblock(wanted[0]).first_step == 0


def test_a_run_is_as_many_steps_or_epochs_as_asked_for() -> None:
    assert make_plan(make_spec(training={"epochs": 3})).total_steps == 27
    assert make_plan(make_spec(training={"epochs": None, "steps": 5})).total_steps == 5


def test_an_epoch_of_validations_is_an_epoch_of_training_steps() -> None:
    plan = make_plan(make_spec(training={"validate_every": "2 epochs"}), validation=make_index())
    assert plan.validate_every == 18


def test_validation_rows_are_never_shuffled_and_every_pass_is_the_same() -> None:
    plan = make_plan(validation=make_index())
    assert plan.validation is not None
    stream = plan.validation
    assert (stream.shuffle_fragments, stream.shuffle_rows, stream.epochs_differ) == (
        False,
        False,
        False,
    )


def test_a_batch_larger_than_the_data_is_one_short_step() -> None:
    plan = make_plan(make_spec(training={"global_batch_size": 128}), train=make_index((50,)))
    geometry = plan.train.geometry
    assert (geometry.steps_per_epoch, geometry.step_rows(0), plan.total_steps) == (1, 50, 2)


def test_more_workers_than_lanes_are_refused() -> None:
    message = (
        r"^scaling\.workers is 13, but a global batch of 12 rows is cut into 12 lanes, and a lane"
        r" goes to one worker; scaling\.workers: 12 at most, or training\.global_batch_size: 13$"
    )
    with pytest.raises(PlanError, match=message):
        make_plan(make_spec(scaling={"workers": 13}))


def test_superblocks_that_do_not_divide_a_shuffled_window_are_refused() -> None:
    spec = make_spec(
        dataset={"shuffle": {"type": "window", "rows": 96}}, scaling={"superblock_steps": 3}
    )
    message = (
        r"^scaling\.superblock_steps is 3, which does not divide the window of 8 steps; these do:"
        r" 1, 2, 4, 8$"
    )
    with pytest.raises(PlanError, match=message):
        make_plan(spec, train=make_index((200,)))


@pytest.mark.parametrize("shuffle", ["none", "fragments", {"type": "window", "rows": "all"}])
def test_superblocks_of_any_size_fit_where_windows_do_not_decide_the_order(
    shuffle: object,
) -> None:
    # A row of 4 MiB: 16 rows a window, so one step, unless superblocks ask for more.
    large = make_index((70,) * 3, row_bytes=4 << 20)
    spec = make_spec(dataset={"shuffle": shuffle}, scaling={"superblock_steps": 5})
    plan = make_plan(spec, train=large, validation=large)
    assert plan.validation is not None
    for stream in (plan.train, plan.validation):
        geometry = stream.geometry
        assert geometry.superblock_steps == 5
        seen = [
            superblock
            for window in range(geometry.windows_per_epoch)
            for superblock in geometry.superblocks_of_window(window)
        ]
        assert seen == list(range(geometry.superblocks_per_epoch))


def test_a_job_too_large_for_an_embedded_ray_says_what_to_declare() -> None:
    with pytest.raises(PlanError) as caught:
        make_plan(make_spec(scaling={"workers": 4}), capacity=EMBEDDED)
    assert str(caught.value) == (
        "the job needs 6 CPUs (training: 4; preprocessing: 1; preprocessing, numbering: 1),"
        " the cluster has 4"
    )
    assert caught.value.hint == (
        "runtime.cpus: 6 declares as many logical CPUs; scaling.workers: 2 fits"
    )


def test_a_job_too_large_for_a_real_cluster_gets_no_such_advice() -> None:
    with pytest.raises(PlanError) as caught:
        make_plan(
            make_spec(scaling={"workers": 4, "gpus_per_worker": 1}),
            capacity=replace(EMBEDDED, embedded=False),
        )
    assert "the job needs 4 GPUs (training: 4), the cluster has 0" in str(caught.value)
    assert caught.value.hint == "scaling.gpus_per_worker: 0 trains without GPUs"


def test_a_job_too_large_for_a_real_cluster_gets_the_number_of_workers_that_fits() -> None:
    with pytest.raises(PlanError) as caught:
        make_plan(make_spec(scaling={"workers": 4}), capacity=replace(EMBEDDED, embedded=False))
    assert caught.value.hint == "scaling.workers: 2 fits"


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(PlanError) as caught:
        make_plan(make_spec(scaling={"workers": 13}), capacity=EMBEDDED)
    first, *rest = str(caught.value).splitlines()
    assert first == "2 problems in the plan:"
    assert [line[:20] for line in rest] == ["  scaling.workers is", "  the job needs 15 C"]


def test_windows_that_cut_long_row_groups_are_warned_about() -> None:
    spec = make_spec(dataset={"shuffle": {"rows": 96}})
    (warning,) = make_plan(spec, train=make_index((500,))).warnings
    assert warning.startswith("each row is read 6.0 times on average")
    assert make_plan(spec, train=make_index((16,) * 30)).warnings == ()


def test_more_workers_than_cores_are_warned_about_on_one_machine() -> None:
    capacity = replace(EMBEDDED, cpus=8)
    (warning,) = make_plan(make_spec(scaling={"workers": 3}), capacity=capacity).warnings
    assert warning == "3 training workers share 2 processor cores"


def test_superblocks_of_few_steps_are_warned_about() -> None:
    spec = make_spec(scaling={"superblock_steps": 2})
    (warning,) = make_plan(spec, train=make_index((1000,))).warnings
    assert warning.startswith("a block carries only 2 batches")


def test_the_run_directory_is_named_by_the_job() -> None:
    spec = make_spec(checkpoint={"storage": "here"})
    assert str(make_plan(spec).run_dir) == "/data/here/job"
    spec = make_spec(checkpoint={"storage": "/there"})
    assert str(make_plan(spec).run_dir) == "/there/job"


def test_a_best_checkpoint_needs_a_validation() -> None:
    spec = make_spec(checkpoint={"best": {"metric": "loss"}})
    with pytest.raises(PlanError, match=r"checkpoint\.best needs a validation to give 'loss'"):
        make_plan(spec)


@pytest.mark.parametrize(
    ("device", "gpus", "message"),
    [
        ("cuda", 0, r"training\.device is cuda, but scaling\.gpus_per_worker is 0"),
        ("cpu", 1, r"training\.device is cpu, but scaling\.gpus_per_worker takes 1 GPUs"),
    ],
)
def test_a_device_and_the_gpus_of_a_worker_have_to_agree(
    device: str, gpus: int, message: str
) -> None:
    training = {"global_batch_size": 12, "epochs": 1, "device": device}
    spec = make_spec(training=training, scaling={"gpus_per_worker": gpus, "workers": 1})
    with pytest.raises(PlanError, match=message):
        make_plan(spec, capacity=ClusterCapacity(cpus=8, gpus=4, cores=2, embedded=False))


def test_windows_that_do_not_fit_into_memory_are_refused() -> None:
    spec = make_spec(dataset={"shuffle": {"type": "window", "rows": "all"}})
    small = ClusterCapacity(cpus=8, gpus=0, cores=1, embedded=True, memory_bytes=1 << 20)
    with pytest.raises(PlanError, match=r"windows of 1000KiB, each held twice, but .* 1MiB"):
        make_plan(spec, train=make_index((1000,), row_bytes=1024), capacity=small)


def test_a_relaxed_epoch_goes_on_with_the_first_superblock_that_is_not_done() -> None:
    plan = plan_of(27, superblock_steps=2)
    opened = OpenEpoch(epoch=1, done=((0, 3), (6, 9)))
    (_, superblocks), *_ = plan.streams_from(9 + 6, opened)
    # Five superblocks an epoch: of the second epoch's, step 3 is in the second.
    assert superblocks == range(6, 15)


@pytest.mark.parametrize(("workers", "shares"), [(1, False), (3, True)])
def test_a_relaxed_stream_has_a_worker_that_shares_out_its_superblocks(
    workers: int, shares: bool
) -> None:
    spec = make_spec(dataset={"order": "relaxed"}, scaling={"workers": workers})
    plan, strict = make_plan(spec), make_plan(make_spec(scaling={"workers": workers}))
    assert plan.train.relaxed
    found = {need.what: need.cpus for need in plan.resources.needs}
    assert found.pop("preprocessing, sharing out", None) == (0.1 if shares else None)
    assert found == {need.what: need.cpus for need in strict.resources.needs}
    # Each batch is the same, so that a run may go from one to the other.
    assert plan.fingerprint == strict.fingerprint


def test_validation_is_always_in_order() -> None:
    plan = make_plan(make_spec(dataset={"order": "relaxed"}), validation=make_index((9,)))
    assert plan.validation is not None
    assert not plan.validation.relaxed
