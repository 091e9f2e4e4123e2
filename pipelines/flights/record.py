"""What a simple model reaches on the same rows: baseline.json, beside the data."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A model's figures on `rows` validation rows, of which `late` are late."""

    auc: float
    log_loss: float
    base_rate: float
    rows: int
    late: int
    # How it was made: for people, nothing reads it.
    settings: dict[str, str | int | float]

    def check_same_rows(self, *, rows: int, late: int) -> None:
        """Figures that are put side by side have to be of the same rows.

        Raises:
            ValueError: they are not.
        """
        if (rows, late) != (self.rows, self.late):
            raise ValueError(
                f"the baseline was scored on {self.rows:,} rows, {self.late:,} of them late; this"
                f" validation has {rows:,}, {late:,} of them late;"
                " `python -m pipelines.flights.baseline` makes it anew"
            )


def read_baseline(path: Path) -> Baseline:
    """The record of `path`.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file holds something else.
    """
    try:
        return Baseline(**json.loads(path.read_text()))
    except (TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is no record of a baseline: {error}") from error


def write_baseline(baseline: Baseline, path: Path) -> None:
    """Beside `path` first, then renamed: a reader sees all of it or nothing."""
    staging = path.with_name(f".{path.name}")
    staging.write_text(json.dumps(dataclasses.asdict(baseline), indent=2) + "\n")
    staging.replace(path)
