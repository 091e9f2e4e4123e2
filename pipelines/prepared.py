"""A prepared data set of a recipe: a folder that is complete or absent, and the command for it."""

from __future__ import annotations

import argparse
import itertools
import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa

logger = logging.getLogger(__name__)

# Several row groups a file: the shape of a large data set.
ROW_GROUPS_PER_FILE = 4


def write_once(out: Path, write: Callable[[Path], None], *, parts: Sequence[str]) -> bool:
    """Make sure that `out` holds a data set; returns whether it had to be written.

    It is written beside `out` and renamed, so `out` is complete or absent.

    Args:
        write: writes the data set into the folder it is given, which it has to make.
        parts: names of what a complete data set has in it.

    Raises:
        FileExistsError: `out` is there and is no such data set.
    """
    if out.exists():
        if all((out / part).exists() for part in parts):
            return False
        raise FileExistsError(f"{out} exists and is no prepared data; move it away or use --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        # A folder inside the private one: renamed, it has the permissions of any other folder.
        staging = Path(scratch) / out.name
        write(staging)
        staging.rename(out)
    return True


def write_split(table: pa.Table, folder: Path, *, num_files: int) -> None:
    """Spread the rows over `num_files` files as evenly as they go, in their order."""
    folder.mkdir(parents=True)
    bounds = [number * table.num_rows // num_files for number in range(num_files + 1)]
    for number, (start, stop) in enumerate(itertools.pairwise(bounds)):
        rows = stop - start
        pq.write_table(
            table.slice(start, rows),
            folder / f"part-{number}.parquet",
            row_group_size=-(-rows // ROW_GROUPS_PER_FILE),
        )


def run_command(
    name: str, prepare: Callable[[Path], bool], argv: Sequence[str] | None, *, text: str | None
) -> None:
    """Read the command line, prepare, say what was done.

    Args:
        name: of the recipe; its data go into `data/<name>` unless told otherwise.
        text: what the command does, for its help.
    """
    parser = argparse.ArgumentParser(prog=f"python -m pipelines.{name}.prepare", description=text)
    parser.add_argument("--out", type=Path, default=Path("data") / name, help="folder to write")
    out: Path = parser.parse_args(argv).out
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logger.info("%s: %s %s", name, "written to" if prepare(out) else "already in", out)
