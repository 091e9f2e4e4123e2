"""Whether workers find nodes."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.plan.placement import Bundle, Node, fit_together, fits_alone, largest_number

TWO_AND_ONE = (Node(cpus=4, gpus=0), Node(cpus=4, gpus=0), Node(cpus=8, gpus=2))


def bundle(count: int, cpus: float, gpus: float = 0) -> Bundle:
    return Bundle(count=count, cpus=cpus, gpus=gpus)


@pytest.mark.parametrize(
    ("bundles", "fit"),
    [
        ([bundle(16, 1)], True),
        ([bundle(17, 1)], False),
        ([bundle(4, 3)], True),
        ([bundle(5, 3)], False),
        ([bundle(1, 6), bundle(2, 4), bundle(2, 1)], True),
        ([bundle(2, 6)], False),
        ([bundle(2, 4, 1), bundle(8, 1)], True),
        ([bundle(3, 1, 1)], False),
        # Those without GPUs come last, and stay away from the node that has some.
        ([bundle(8, 1), bundle(2, 4, 1)], True),
        ([bundle(0, 99)], True),
        ([], True),
    ],
)
def test_workers_fit_where_each_finds_room_on_one_node(bundles: list[Bundle], fit: bool) -> None:
    assert fit_together(bundles, TWO_AND_ONE) is fit


def test_a_worker_that_is_larger_than_any_node_fits_nowhere() -> None:
    assert fits_alone(bundle(5, 8), TWO_AND_ONE)
    assert not fits_alone(bundle(1, 9), TWO_AND_ONE)
    assert not fits_alone(bundle(1, 1, 3), TWO_AND_ONE)
    assert fits_alone(bundle(1, 0.3), [Node(cpus=0.1 + 0.2, gpus=0)])


sizes = st.lists(st.integers(1, 4), min_size=1, max_size=4)


@given(sizes, sizes)
def test_what_is_said_to_fit_can_be_placed(workers: list[int], nodes: list[int]) -> None:
    said = fit_together(
        [bundle(1, cpus) for cpus in workers], [Node(cpus=n, gpus=0) for n in nodes]
    )
    if said:
        assert any(
            all(
                sum(cpus for cpus, at in zip(workers, places, strict=True) if at == number) <= room
                for number, room in enumerate(nodes)
            )
            for places in product(range(len(nodes)), repeat=len(workers))
        )
    else:
        assert sum(workers) > max(nodes)


@given(st.integers(0, 50), st.integers(0, 50))
def test_the_largest_number_that_fits_is_found(limit: int, most: int) -> None:
    assert largest_number(lambda number: number <= most, limit) == min(limit, most)
