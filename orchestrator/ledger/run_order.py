"""The order of a run as arithmetic, from its directory alone."""

from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from orchestrator.checkpoint.files import storage_errors
from orchestrator.data.counts_file import counts_file, parse_counts
from orchestrator.errors import LedgerError
from orchestrator.ledger.description import Description, read_description
from orchestrator.plan.accounts import Accounts, EpochOrigins, fragment_sums
from orchestrator.plan.mixture import MixedOrder, Order
from orchestrator.plan.order import SampleOrder
from orchestrator.plan.origins import Counts, Rows
from orchestrator.plan.quarantine import quarantined_rows, sound_counts


@dataclass(frozen=True, kw_only=True)
class RunOrder:
    """The order of a run as arithmetic; `accounts` say what the rows give where not one each.

    `quarantined` are the rows that were found to be bad, ascending, of which nothing is trained.
    """

    description: Description
    order: Order
    fragment_units: Rows
    accounts: Accounts | None
    quarantined: Rows = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    @cached_property
    def origins(self) -> EpochOrigins:
        """Where the samples at any positions come from."""
        return EpochOrigins(self.order, self.accounts)

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.order.rows // self.description.batch)

    @property
    def has_parts(self) -> bool:
        """Whether a row may be made into several samples."""
        return self.accounts is not None and self.accounts.parts

    def steps_of(self, epoch: int) -> range:
        """The steps of an epoch, counted from 0 through the run."""
        return range(epoch * self.steps_per_epoch, (epoch + 1) * self.steps_per_epoch)

    def place_of(self, row: int) -> str:
        """A row in words: its number, its file and its position there."""
        path, position = self.description.index.locate(row)
        return f"row {row} ({path}, row {position})"


def read_order(run_dir: Path) -> RunOrder:
    """The order of a run, from its directory alone.

    Raises:
        LedgerError: the description is missing, torn or edited, or the counts that it needs.
    """
    description = read_description(run_dir)
    accounts, quarantined = None, np.empty(0, dtype=np.int64)
    units = description.index.fragment_rows
    if (packing := description.packing) is not None:
        counts = read_counts(run_dir)
        if counts is None or len(counts) != description.index.rows:
            raise LedgerError("the counts of the rows are missing, or those of another data set")
        quarantined, counts = quarantined_rows(counts), sound_counts(counts)
        accounts = Accounts(counts=counts, packed=packing.packed, parts=packing.parts)
        units, _ = fragment_sums(counts, units)
    mixture = description.mixture
    kind = SampleOrder if mixture is None else partial(MixedOrder, mixture=mixture)
    order = kind(
        units,
        window_rows=description.window_rows,
        seed=description.seed,
        shuffle_fragments=description.shuffle_fragments,
        shuffle_rows=description.shuffle_rows,
        row_units=packing.length if packing else 1,
    )
    return RunOrder(
        description=description,
        order=order,
        fragment_units=units,
        accounts=accounts,
        quarantined=quarantined,
    )


def read_counts(run_dir: Path) -> Counts | None:
    """How many units each row of the training data gives, int32 [rows]; None where not counted.

    As they are in the file: negative where a row is quarantined.

    Raises:
        LedgerError: the file of the counts is damaged.
    """
    path = run_dir / counts_file("train")
    try:
        with storage_errors("read", path):
            return parse_counts(path.read_bytes()).counts if path.is_file() else None
    except ValueError as error:
        raise LedgerError(f"{path.name} is damaged: {error}") from error
