"""Streams whose transforms change the number of rows: what is counted before they can be cut."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from orchestrator.plan.accounts import Accounts, fragment_sums
from orchestrator.plan.index import DatasetIndex
from orchestrator.plan.origins import Counts, Rows
from orchestrator.plan.quarantine import quarantined_rows, sound_counts
from orchestrator.spec.transform import Split, TransformSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Counting:
    """What is counted of a stream, and what was found.

    The first `transforms` transforms of the stream decide how many samples a row gives. `parts` and
    `packed` are as of `Accounts`; `length` is how many tokens make a packed sample, else 1. `key`
    tells apart everything that the counts depend on. `units` and `digests` are those of each
    fragment, int64 [fragments]; None until the rows are counted.

    `most_errors` is how many rows may be quarantined, and `bad_rows` are those that are; None where
    the first bad row ends the run.
    """

    transforms: int
    parts: bool
    packed: bool
    length: int
    key: str
    units: Rows | None = field(default=None, compare=False)
    digests: Rows | None = field(default=None, compare=False)
    most_errors: int | None = None
    bad_rows: Rows | None = field(default=None, compare=False)

    def counted(self, counts: Counts, index: DatasetIndex) -> "Counting":
        """The same with what was found."""
        units, digests = fragment_sums(sound_counts(counts), index.fragment_rows)
        bad = None if self.most_errors is None else quarantined_rows(counts)
        return replace(self, units=units, digests=digests, bad_rows=bad)

    def good_rows(self, start: int, stop: int) -> Rows:
        """Those of rows [start, stop) that are not quarantined, ascending."""
        rows = np.arange(start, stop)
        if self.bad_rows is None:
            return rows
        low, high = np.searchsorted(self.bad_rows, [start, stop])
        return np.delete(rows, self.bad_rows[low:high] - start)

    def accounts(self, counts: Counts) -> Accounts:
        """The counts as the accounts of the rows."""
        return Accounts(counts=sound_counts(counts), packed=self.packed, parts=self.parts)

    def fragment_units(self, index: DatasetIndex) -> Rows:
        """The units of each fragment; until they are counted a guess, to plan with.

        One sample a row is the most that a filter leaves, and a guess for all others.
        """
        return index.fragment_rows * self.length if self.units is None else self.units


def plan_counting(
    transforms: tuple[TransformSpec, ...],
    index: DatasetIndex,
    hashes: Mapping[str, str],
    root: str,
    *,
    fitted_on: Mapping[str, str],
    most_errors: int | None = None,
    seed: int = 0,
) -> Counting | None:
    """What has to be counted of a split; None where each row gives one sample.

    Args:
        transforms: those of the split.
        hashes: the source fingerprint of each.
        fitted_on: of those that are fitted, a digest of what on.
        most_errors: how many rows may be quarantined; None where none is looked for.
        seed: of the random numbers that a transform may draw while bad rows are looked for.
    """
    changing = [number for number, spec in enumerate(transforms) if spec.changes_rows]
    if not changing and most_errors is None:
        return None
    prefix = transforms[: changing[-1] + 1] if changing else ()
    length = prefix[-1].length if changing else None
    packing = bool(changing) and prefix[-1].kind == "pack"
    # Whether a row is bad depends on the other transforms too.
    tried = prefix if most_errors is None else transforms
    facts = [
        [spec.use, spec.kind, spec.with_, spec.length, hashes[spec.use], fitted_on.get(spec.use)]
        for spec in tried
    ]
    quarantine = [] if most_errors is None else [["quarantine", seed]]
    text = json.dumps([index.digest(root), facts, *quarantine], sort_keys=True)
    return Counting(
        transforms=len(prefix),
        parts=any(spec.kind == "flat_map" for spec in prefix) and not packing,
        packed=packing,
        length=length or 1,
        key=hashlib.sha256(text.encode()).hexdigest(),
        most_errors=most_errors,
    )


def counting_problems(transforms: tuple[TransformSpec, ...], split: Split) -> Iterator[str]:
    """Every reason why the rows of a split cannot be counted, a line each."""
    of_split = [spec for spec in transforms if split in spec.splits]
    apart: TransformSpec | None = None
    packing: TransformSpec | None = None
    for spec in of_split:
        if spec.changes_rows and apart is not None:
            yield (
                f"transform {spec.use} ({spec.kind}) changes the number of rows, which is done by"
                f" the workers that read; it comes after {apart.use}, which has workers of its own:"
                " move it before that"
            )
        if spec.changes_rows and packing is not None:
            yield (
                f"transform {spec.use} ({spec.kind}) comes after {packing.use}, which packs:"
                " nothing may change the number of samples after that"
            )
        apart = apart or (spec if spec.has_own_pool else None)
        packing = packing or (spec if spec.kind == "pack" else None)


def empty_problem(split: Split, counting: Counting | None) -> Iterator[str]:
    """That nothing is left of the rows, where nothing is."""
    if counting is not None and counting.units is not None and not int(np.sum(counting.units)):
        yield f"dataset.{split}: the transforms leave none of its rows"
