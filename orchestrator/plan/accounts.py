"""Which samples stand where in an epoch, with their origins: what batches are held against."""

from orchestrator.plan.mixture import Order
from orchestrator.plan.origins import Counts, Origins


def origins_between(
    order: Order, epoch: int, start: int, stop: int, counts: Counts | None = None
) -> Origins:
    """The origins of the samples at positions [start, stop) of an epoch, clipped to its end.

    Args:
        counts: how many units each row of the index gives, int32 [rows]; None: one each.
    """
    if counts is not None:
        raise NotImplementedError
    return Origins(
        rows=order.rows_between(epoch, start, stop),
        passes=order.passes_between(epoch, start, stop),
    )
