"""The arguments of the verbs that look at a run."""

import argparse
from pathlib import Path

from orchestrator.spec.checkpoint import DEFAULT_STORAGE


def add_storage(parser: argparse.ArgumentParser) -> None:
    """Adds --storage."""
    parser.add_argument(
        "--storage",
        metavar="DIR",
        type=Path,
        default=Path(DEFAULT_STORAGE),
        help=f'directory of the run directories; by default "{DEFAULT_STORAGE}", from here',
    )
