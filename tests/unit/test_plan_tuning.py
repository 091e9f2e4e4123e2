"""What the cost of the first rows chooses: bounded, sensible, and never what the spec fixes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.plan.geometry import aligned_window, cut_stream
from orchestrator.plan.resources import ClusterCapacity
from orchestrator.plan.tuning import MeasuredCost, most_auto_workers, prefetched, tune_pool
from orchestrator.spec.scaling import PoolSpec, ScalingSpec
from tests.support.orders import rows_between
from tests.support.plans import make_index, make_plan, make_spec

GEOMETRY = cut_stream(
    rows=100_000,
    batch=100,
    lanes=20,
    window_rows=10_000,
    window_is_order=True,
    superblock_steps=None,
    most_superblock_steps=10,
)
AUTO = PoolSpec()


def cost(row_s: float = 1e-5, busy: float = 1.0, row_bytes: float = 100.0) -> MeasuredCost:
    return MeasuredCost(
        rows=1000, read_s=row_s / 4, work_s=3 * row_s / 4, busy=busy, row_bytes=row_bytes
    )


COSTS = st.builds(
    cost,
    row_s=st.floats(1e-9, 100),
    busy=st.floats(0, 1),
    row_bytes=st.floats(0, 1e9),
)


@given(COSTS, st.integers(1, 64))
def test_whatever_is_measured_the_choice_is_within_bounds(found: MeasuredCost, cores: int) -> None:
    tuning = tune_pool(AUTO, found, GEOMETRY)
    assert 0.1 <= tuning.cpus <= 1
    assert 2 <= tuning.tasks_in_flight <= 8
    workers = most_auto_workers(AUTO, tuning, cores, 1000)
    assert cores <= workers <= max(cores, 32)
    # No more cores at work than there are, nearly.
    assert workers * tuning.cpus <= cores + 1e-6 or workers == cores
    ahead = prefetched(ScalingSpec(), found, GEOMETRY, workers)
    assert 2 <= ahead <= 8


@pytest.mark.parametrize(
    ("row_s", "queued"), [(1e-8, 8), (1e-6, 8), (4e-6, 6), (1e-4, 2), (1.0, 2)]
)
def test_the_shorter_a_window_takes_the_more_are_queued(row_s: float, queued: int) -> None:
    assert tune_pool(AUTO, cost(row_s), GEOMETRY).tasks_in_flight == queued


@pytest.mark.parametrize(
    ("busy", "cpus", "workers"), [(1.0, 1.0, 2), (0.8, 1.0, 2), (0.5, 0.5, 4), (0.01, 0.1, 20)]
)
def test_workers_that_wait_share_cores(busy: float, cpus: float, workers: int) -> None:
    tuning = tune_pool(AUTO, cost(busy=busy), GEOMETRY)
    assert tuning.cpus == cpus
    assert most_auto_workers(AUTO, tuning, 2, 1000) == workers
    assert most_auto_workers(AUTO, tuning, 2, 0) == 2


def test_large_blocks_are_not_fetched_far_ahead() -> None:
    assert prefetched(ScalingSpec(), cost(1e-9), GEOMETRY, 2) == 8
    assert prefetched(ScalingSpec(), cost(1e-9, row_bytes=1e6), GEOMETRY, 2) == 2
    assert prefetched(ScalingSpec(), cost(1.0), GEOMETRY, 2) == 2


def test_what_the_spec_says_is_done() -> None:
    pool = PoolSpec(workers=(3, 3), cpus=0.3, tasks_in_flight=5)
    tuning = tune_pool(pool, cost(1e-9, busy=0.1), GEOMETRY)
    assert (tuning.cpus, tuning.tasks_in_flight) == (0.3, 5)
    assert most_auto_workers(pool, tuning, 2, 1000) == 2
    assert prefetched(ScalingSpec(prefetch_blocks=7), cost(), GEOMETRY, 2) == 7


def test_no_choice_changes_a_batch_nor_the_fingerprint() -> None:
    plan = make_plan(capacity=ClusterCapacity(cpus=32, gpus=0, cores=2, embedded=True))
    tuned = plan.measured(cost(1e-3, busy=0.05, row_bytes=1e7))
    assert tuned.train.geometry.superblock_steps < plan.train.geometry.superblock_steps
    assert tuned.fingerprint == plan.fingerprint
    for epoch in range(2):
        before, after = (p.train.sample_order() for p in (plan, tuned))
        rows = plan.train.geometry.rows
        rows_then = rows_between(before, epoch, 0, rows).tolist()
        assert rows_then == rows_between(after, epoch, 0, rows).tolist()


@given(st.integers(1, 10**7), st.integers(1, 10**6), st.integers(1, 10**5))
def test_an_aligned_window_is_about_as_long_as_asked_for(
    rows: int, fragment: int, batch: int
) -> None:
    aligned = aligned_window(rows, fragment, batch)
    assert rows / 2 <= aligned <= rows * 3 / 2
    assert aligned == rows or (aligned % fragment == 0 and aligned % (8 * batch) == 0)


def test_windows_of_a_plan_end_where_fragments_do() -> None:
    index = make_index((131_072,) * 16, row_bytes=152)
    spec = make_spec(training={"global_batch_size": 1024})
    order = make_plan(spec, train=index).train.sample_order()
    assert order.read_amplification() == 1.0


@pytest.mark.parametrize(
    ("store", "steps"), [("auto", 64), ("4 GiB", 64), ("512 MiB", 32), ("80 MiB", 4)]
)
def test_a_superblock_is_a_window_unless_the_object_store_is_small(store: str, steps: int) -> None:
    index = make_index((65_536,) * 16, row_bytes=1024)
    spec = make_spec(training={"global_batch_size": 1024}, runtime={"object_store": store})
    geometry = make_plan(spec, train=index).train.geometry
    assert (geometry.window_steps, geometry.superblock_steps) == (64, steps)
