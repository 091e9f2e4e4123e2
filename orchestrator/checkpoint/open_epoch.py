"""The file of a checkpoint that says which steps of an epoch are done, where they have no order."""

import json
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from orchestrator.checkpoint.files import storage_errors
from orchestrator.errors import CheckpointError
from orchestrator.plan.geometry import Cursor
from orchestrator.plan.open_epoch import OpenEpoch

OPEN_EPOCH_FILE = "open_epoch.json"

_ADAPTER = TypeAdapter(OpenEpoch)


def write_open_epoch(directory: Path, open_epoch: OpenEpoch) -> None:
    """Writes it into a checkpoint's directory."""
    (directory / OPEN_EPOCH_FILE).write_text(json.dumps(asdict(open_epoch)) + "\n")


def read_open_epoch(directory: Path, cursor: Cursor) -> OpenEpoch | None:
    """What a checkpoint says of the epoch that its cursor is in; None where the cursor says it all.

    Raises:
        CheckpointError: it is not what was written, or not of this cursor.
    """
    path = directory / OPEN_EPOCH_FILE
    with storage_errors("read", path):
        if not path.exists():
            return None
        content = path.read_bytes()
    try:
        # Not strict: JSON has lists, and no tuples.
        found = _ADAPTER.validate_json(content)
    except ValidationError as error:
        raise CheckpointError(f"{path} does not say which steps are done") from error
    # Adjacent intervals would be one, so that all edges differ.
    edges = [-1, *(edge for span in found.done for edge in span)]
    ascending = all(before < after for before, after in pairwise(edges))
    if not ascending or (found.epoch, found.steps) != (cursor.epoch, cursor.step):
        raise CheckpointError(
            f"{path} is not of its checkpoint: {found.steps} steps of epoch {found.epoch} are done,"
            f" wanted {cursor.step} of epoch {cursor.epoch}"
        )
    return found
