"""Transforms that change the number of rows, applied: what each row gives, and how much of it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.data.blame import UserCodeError
from orchestrator.data.codec import Column, Columns
from orchestrator.data.results import as_array, as_columns, check_result, concatenate
from orchestrator.data.transforms import BoundTransform
from orchestrator.errors import DataError
from orchestrator.plan.origins import Counts, Origins, Rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Units:
    """What rows give: `counts` of each, int32 [rows], and the columns of all, end to end.

    The columns of packed rows have an entry a token. Where nothing is left there are no columns.
    """

    columns: Columns
    counts: Counts


def units_of(transforms: Sequence[BoundTransform], columns: Columns, rows: Rows) -> Units:
    """What rows give after all of the transforms, whatever these do to their number.

    Args:
        columns: one entry a row; made anew, since a transform may write into them.

    Raises:
        UserCodeError: one raised; it says on which of the rows given.
        DataError: one returned what its kind may not.
    """
    owners = np.arange(len(rows))
    for transform in transforms:
        try:
            columns, counts = _KINDS[transform.kind](transform, columns, Origins(rows=rows[owners]))
        except UserCodeError as error:
            # Of the entries that it got, back to the rows that these were made of.
            error.start, error.stop = _of_rows(owners, error.start, error.stop)
            raise
        if counts is not None:
            owners = np.repeat(owners, counts)
        if not len(owners):
            columns = {}
            break
    found = np.bincount(owners, minlength=len(rows))
    return Units(columns=columns, counts=found.astype(np.int32))


def _mapped(
    transform: BoundTransform, columns: Columns, origins: Origins
) -> tuple[Columns, Rows | None]:
    # Copied, as a transform may write into them again for the next fragment.
    return {
        name: column.copy() for name, column in transform.apply(columns, origins, 0).items()
    }, None


def _filtered(
    transform: BoundTransform, columns: Columns, origins: Origins
) -> tuple[Columns, Rows | None]:
    kept = []
    for part, result in _calls(transform, columns, origins):
        keep = as_array(result, "what to keep", transform.name)
        if keep.dtype != np.bool_ or keep.shape != (len(part),):
            got = type(result).__name__ if keep.ndim == 0 else f"{keep.dtype} {list(keep.shape)}"
            raise DataError(
                f"transform {transform.name}: a filter returns whether to keep each row, bool"
                f" [{len(part)}]; got {got}"
            )
        # Copied, as a transform may write into it again.
        kept.append(keep.copy())
    keeps = np.concatenate(kept)
    return {name: column[keeps] for name, column in columns.items()}, keeps.astype(np.int64)


def _multiplied(
    transform: BoundTransform, columns: Columns, origins: Origins
) -> tuple[Columns, Rows | None]:
    made, counts = [], []
    for part, result in _calls(transform, columns, origins):
        if not isinstance(result, tuple) or len(result) != 2:
            raise DataError(
                f"transform {transform.name}: a flat_map returns its columns and how many of their"
                f" entries each row gives, a tuple of two; got {type(result).__name__}"
            )
        count = as_array(result[1], "how many entries each row gives", transform.name)
        fits = count.dtype.kind in "iu" and count.shape == (len(part),)
        if not fits or (count.astype(np.int64) < 0).any():
            raise DataError(
                f"transform {transform.name}: how many entries each row gives: wanted whole numbers"
                f" from 0 on, [{len(part)}]; got {count.dtype} {list(count.shape)}"
            )
        counts.append(count.astype(np.int64))
        piece = check_result(result[0], int(count.sum()), transform.name)
        # Copied, as a transform may write into them again.
        made.append({key: column.copy() for key, column in piece.items()})
    full = [piece for piece, count in zip(made, counts, strict=True) if count.any()]
    return concatenate(full or made[:1], transform.name), np.concatenate(counts)


def _packed(
    transform: BoundTransform, columns: Columns, origins: Origins
) -> tuple[Columns, Rows | None]:
    made, counts = [], []
    for part, result in _calls(transform, columns, origins):
        tokens, lengths = _flat(as_columns(result, transform.name), len(part), transform.name)
        counts.append(lengths)
        if lengths.any():
            made.append(tokens)
    return (concatenate(made, transform.name) if made else {}), np.concatenate(counts)


_KINDS: dict[str, Callable[[BoundTransform, Columns, Origins], tuple[Columns, Rows | None]]] = {
    "map": _mapped,
    "filter": _filtered,
    "flat_map": _multiplied,
    "pack": _packed,
}


def _calls(
    transform: BoundTransform, columns: Columns, origins: Origins
) -> Iterator[tuple[Origins, object]]:
    """What it returns for pieces of the rows, with the rows of each."""
    for part in transform.cut(len(origins)):
        taken = {name: column[part] for name, column in columns.items()}
        yield origins.take(part), transform.call(taken, origins.take(part), 0, part.start)


def _flat(columns: dict[str, object], rows: int, name: str) -> tuple[Columns, Rows]:
    """Columns of one sequence a row, laid end to end, and the length of each row's."""
    flat: Columns = {}
    lengths: dict[str, Rows] = {}
    for key, sequences in columns.items():
        if isinstance(sequences, np.ndarray) and sequences.ndim:
            sequences = list(sequences)
        if not isinstance(sequences, Sequence) or len(sequences) != rows:
            raise DataError(
                f"transform {name}: column {key!r} of what is packed: wanted a sequence of tokens"
                f" for each of {rows} rows; got {type(sequences).__name__}"
            )
        arrays = [as_array(sequence, f"a row of column {key!r}", name) for sequence in sequences]
        if any(array.ndim != 1 for array in arrays):
            raise DataError(
                f"transform {name}: column {key!r} of what is packed: wanted a sequence of single"
                " numbers for each row"
            )
        lengths[key] = np.array([len(array) for array in arrays], dtype=np.int64)
        full = [array for array in arrays if len(array)]
        flat[key] = np.concatenate(full) if full else np.empty(0, dtype=np.int64)
        _check_numbers(flat[key], key, name)
    (first, length), *others = lengths.items()
    for key, other in others:
        if (other != length).any():
            row = int(np.flatnonzero(other != length)[0])
            raise DataError(
                f"transform {name}: a row has {length[row]} entries in {first!r}, but {other[row]}"
                f" in {key!r}; wanted as many in all columns that are packed"
            )
    return flat, length


def _check_numbers(tokens: Column, key: str, name: str) -> None:
    if tokens.dtype.kind not in "biuf":
        raise DataError(
            f"transform {name}: column {key!r} of what is packed holds {tokens.dtype}, wanted"
            " numbers"
        )


def _of_rows(owners: NDArray[np.int64], start: int, stop: int) -> tuple[int, int]:
    if start >= len(owners) or stop <= start:
        return 0, 0
    return int(owners[start]), int(owners[min(stop, len(owners)) - 1]) + 1
