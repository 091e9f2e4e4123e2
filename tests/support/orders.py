"""An order as tests ask for it."""

from orchestrator.plan.accounts import EpochOrigins
from orchestrator.plan.mixture import Order
from orchestrator.plan.origins import Rows


def rows_between(order: Order, epoch: int, start: int, stop: int) -> Rows:
    """The rows at positions [start, stop) of an epoch, clipped to its end."""
    return EpochOrigins(order).between(epoch, start, stop).rows
