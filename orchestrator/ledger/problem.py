"""What a ledger does not prove, or disproves."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is not as it must be; `steps` are [start, stop), counted from 0 like `epoch`."""

    message: str
    epoch: int | None = None
    steps: tuple[int, int] | None = None
    rows: tuple[int, ...] = ()
