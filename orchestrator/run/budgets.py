"""What is spent of a run's budgets for failures: a small file, which outlives every driver.

Read and written by the driver and by its supervisor, never by both at once. Neither ray nor torch
is imported.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from orchestrator.checkpoint.files import storage_errors
from orchestrator.errors import FailureClass
from orchestrator.run.directory import replace_file

_log = logging.getLogger(__name__)

BUDGETS_FILE = "budgets.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """What a run has spent.

    Attributes:
        step: steps in the newest checkpoint at the last failure; a newer one fills the budgets.
        spent: failures of each class since the budgets were full.
        total: failures of each class in all.
        last: what the last failure raised and where, None if that was a death: an exception that
            comes a second time will come a third time.
    """

    version: Literal[1] = 1
    step: int = 0
    spent: Mapping[FailureClass, int] = field(default_factory=dict)
    total: Mapping[FailureClass, int] = field(default_factory=dict)
    last: str | None = None

    def charged(self, kind: FailureClass, *, step: int, last: str | None = None) -> "Account":
        """The account after one more failure.

        Args:
            step: steps in the newest checkpoint now.
            last: what was raised and where; None for a death.
        """
        spent = {} if step > self.step else self.spent
        return replace(
            self,
            step=max(step, self.step),
            spent={**spent, kind: spent.get(kind, 0) + 1},
            total={**self.total, kind: self.total.get(kind, 0) + 1},
            last=last,
        )

    def overdrawn(self, kind: FailureClass, budget: int) -> bool:
        """Whether the last failure, of this class, was one too many; a budget of -1 is any."""
        return 0 <= budget < self.spent.get(kind, 0)


_ADAPTER = TypeAdapter(Account)


def read_account(run_dir: Path) -> Account:
    """The account of a run, an empty one where nothing has failed yet.

    Raises:
        CheckpointError: it cannot be read.
    """
    path = run_dir / BUDGETS_FILE
    with storage_errors("read", path):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return Account()
    try:
        return _ADAPTER.validate_json(content)
    except ValidationError as error:
        # No reason to give a run up. Each write is whole, so that somebody has edited it.
        _log.warning("%s is damaged, the budgets are full again: %s", path, error)
        return Account()


def write_account(account: Account, run_dir: Path) -> None:
    """Writes the account, whole or not at all.

    Raises:
        CheckpointError: it cannot be written.
    """
    replace_file(run_dir / BUDGETS_FILE, json.dumps(asdict(account), indent=1))
