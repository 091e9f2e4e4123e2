"""Which records describe the model that a run ends with.

An attempt that is succeeded by another has usually trained some steps past the checkpoint which
its successor starts from. Those steps are done again, so their records do not count.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.report.records import Record, TrainRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptLink:
    """Where one attempt comes from.

    Attributes:
        parent: the attempt whose state it continued, None if it began anew.
        start_step: how many steps were done when it began.
    """

    attempt: int
    parent: int | None
    start_step: int


def last_effective_steps(attempts: Iterable[AttemptLink]) -> dict[int, int | None]:
    """Returns the last step that counts of each attempt in the newest one's line of parents.

    The newest attempt has no such limit (None). An attempt outside of that line is not in the
    result: nothing it did counts.

    Raises:
        ValueError: a parent is unknown, or is not older than its child.
    """
    links = {link.attempt: link for link in attempts}
    limits: dict[int, int | None] = {}
    number = max(links, default=None)
    limit: int | None = None
    while number is not None:
        link = links[number]
        limits[number] = limit
        # Where a child starts before its parent did, the parent's own past is cut as well.
        limit = link.start_step if limit is None else min(limit, link.start_step)
        if link.parent is not None and (link.parent not in links or link.parent >= number):
            raise ValueError(f"attempt {number}: parent {link.parent} is no earlier attempt")
        number = link.parent
    return limits


def effective_records(records: Iterable[Record], attempts: Iterable[AttemptLink]) -> list[Record]:
    """Returns the records that count, by step; of two of a kind at a step, the newer attempt's."""
    limits = last_effective_steps(attempts)
    kept: dict[tuple[int, str], Record] = {}
    for record in records:
        if record.attempt not in limits:
            continue
        limit = limits[record.attempt]
        if limit is not None and record.step > limit:
            continue
        key = (record.step, "train" if isinstance(record, TrainRecord) else "validation")
        # An attempt may measure again the very checkpoint that it starts from.
        if key not in kept or kept[key].attempt <= record.attempt:
            kept[key] = record
    return [kept[key] for key in sorted(kept)]
