"""Rows that are quarantined: left out of the order, as their bytes say, and no more than allowed.

They are found by one pass before training (docs/adr/0010), and left out like what a filter drops.
In the counts of the rows, which the run keeps, a mark stands for them.
"""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from orchestrator.plan.origins import Counts, Rows
from orchestrator.spec.dataset import DatasetSpec
from orchestrator.spec.transform import Split, TransformSpec

# What stands in the counts for a row that cannot be used.
QUARANTINED = -1


def sound_counts(counts: Counts) -> Counts:
    """What the rows give; one that is quarantined gives nothing."""
    return np.maximum(counts, 0)


def quarantined_rows(counts: Counts) -> Rows:
    """The numbers of the rows that are quarantined, ascending."""
    return np.flatnonzero(counts < 0)


def most_errors(dataset: DatasetSpec, rows: int) -> int | None:
    """How many of a split's rows may be quarantined; None where a bad row ends the run."""
    if dataset.on_error == "fail":
        return None
    if isinstance(dataset.max_errors, int):
        return dataset.max_errors
    return int(Fraction(dataset.max_errors.removesuffix("%")) * rows / 100)


def quarantine_problems(transforms: tuple[TransformSpec, ...], split: Split) -> Iterator[str]:
    """Every reason why bad rows of a split cannot be told before training, a line each."""
    packing: TransformSpec | None = None
    for spec in transforms:
        if split not in spec.splits:
            continue
        if spec.has_own_pool:
            yield (
                f"transform {spec.use} has workers of its own, but with dataset.on_error:"
                " quarantine every transform is tried before training by the workers that read:"
                " drop its cpus, gpus and workers, or set dataset.on_error: fail"
            )
        if packing is not None:
            yield (
                f"transform {spec.use} comes after {packing.use}, which packs: a packed sample is"
                " made of other rows in each epoch, so that dataset.on_error: quarantine could not"
                " tell which row is bad: move it before that, or set dataset.on_error: fail"
            )
        packing = packing or (spec if spec.kind == "pack" else None)
