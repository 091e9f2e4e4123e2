"""The ledger's folder in a run's directory: files appear in it whole or not at all."""

import os
from pathlib import Path

from orchestrator.checkpoint.files import storage_errors, sync, write_synced

LEDGER_DIR = "ledger"


def ledger_dir(run_dir: Path) -> Path:
    """The folder of a run's ledger."""
    return run_dir / LEDGER_DIR


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file in a folder, made where it is missing, by a rename.

    Raises:
        CheckpointError: it cannot be written.
    """
    with storage_errors("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        staged = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            write_synced(staged, data).replace(path)
        finally:
            staged.unlink(missing_ok=True)
        sync(path.parent)
