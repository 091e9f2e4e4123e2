"""Which steps of an epoch are done, as intervals."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.plan.geometry import Cursor, Superblock
from orchestrator.plan.open_epoch import OpenEpoch


@given(steps=st.lists(st.integers(0, 40), unique=True))
def test_it_holds_the_steps_that_were_added_in_any_order(steps: list[int]) -> None:
    found = OpenEpoch(epoch=2)
    for step in steps:
        assert step not in found
        found = found.plus(step)
    done = set(steps)
    assert {step for step in range(42) if step in found} == done
    assert found.steps == len(steps)
    assert found.first_left == min(set(range(42)) - done)
    assert found.in_order == (done == set(range(len(steps))))
    edges = [edge for span in found.done for edge in span]
    # As few intervals as there can be: no two touch.
    assert edges == sorted(set(edges))
    for first, size in [(0, 1), (3, 2), (8, 5)]:
        superblock = Superblock(number=0, epoch=2, first_step=first, steps=size)
        assert found.has(superblock) == (set(range(first, first + size)) <= done)


def test_a_superblock_of_another_epoch_is_not_done() -> None:
    found = OpenEpoch(epoch=2, done=((0, 8),))
    for epoch in (1, 2, 3):
        superblock = Superblock(number=0, epoch=epoch, first_step=0, steps=4)
        assert found.has(superblock) == (epoch == 2)


def test_a_cursor_of_an_ordered_epoch_says_it_all() -> None:
    assert OpenEpoch.until(Cursor(epoch=1, step=0)) == OpenEpoch(epoch=1)
    assert OpenEpoch.until(Cursor(epoch=1, step=3)) == OpenEpoch(epoch=1, done=((0, 3),))
    assert OpenEpoch.until(Cursor(epoch=1, step=3)).in_order
