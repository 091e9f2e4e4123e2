"""Fitted transforms in the plan: which there are, and how the rows they learn from are cut."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from orchestrator.plan.index import DatasetIndex
from orchestrator.spec.job import JobSpec
from orchestrator.spec.transform import TransformSpec

# What one task reads, and what of it is measured at a time. Neither depends on the cluster or on
# the batch, so that the same data give the same pieces, and the same state to the bit.
WINDOW_BYTES = 64 << 20
PIECE_BYTES = 16 << 20
MOST_PIECE_ROWS = 1 << 18


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedFit:
    """A transform that is fitted before training.

    `position` is its number among the transforms of the training rows, from 1.
    """

    use: str
    position: int


def plan_fits(spec: JobSpec, fitted: Collection[str]) -> tuple[PlannedFit, ...]:
    """The fitted transforms, in the order in which they are fitted.

    Args:
        fitted: the references of those transforms whose class is a fitted one.
    """
    return tuple(
        PlannedFit(use=transform.use, position=position)
        for position, transform in enumerate(_of_training(spec), start=1)
        if transform.use in fitted
    )


def fitted_problems(spec: JobSpec, fitted: Collection[str]) -> Iterator[str]:
    """Every reason why a transform cannot be fitted, a line each."""
    for transform in spec.transforms:
        if transform.use in fitted and "train" not in transform.splits:
            yield (
                f"transform {transform.use} is fitted on the training rows, but its splits are"
                f" {', '.join(transform.splits)}; add train to them"
            )
    before: list[TransformSpec] = []
    for transform in _of_training(spec):
        on_gpu = next((earlier.use for earlier in before if earlier.gpus), None)
        if transform.use in fitted and on_gpu is not None:
            yield (
                f"transform {transform.use} is fitted on what {on_gpu} makes, which needs a GPU,"
                " and rows are measured without one; move the fitted transform before it"
            )
        packing = next((earlier.use for earlier in before if earlier.kind == "pack"), None)
        if transform.use in fitted and packing is not None:
            yield (
                f"transform {transform.use} is fitted on what {packing} packs, and samples are"
                " packed anew in each epoch; move the fitted transform before it"
            )
        before.append(transform)


def measured_windows(index: DatasetIndex) -> list[range]:
    """The fragments that each task of the pass reads: whole ones, in the order of the files."""
    windows, first, held = [], 0, 0
    for number, fragment in enumerate(index.fragments):
        if held and held + fragment.bytes > WINDOW_BYTES:
            windows.append(range(first, number))
            first, held = number, 0
        held += fragment.bytes
    return [*windows, range(first, len(index.fragments))]


def measured_rows(index: DatasetIndex, transform: TransformSpec) -> int:
    """The most rows of a window that are measured in one call."""
    rows = int(PIECE_BYTES / max(1.0, index.bytes_per_row))
    return min(max(1, rows), MOST_PIECE_ROWS, transform.batch_rows or MOST_PIECE_ROWS)


def _of_training(spec: JobSpec) -> list[TransformSpec]:
    return [transform for transform in spec.transforms if "train" in transform.splits]
