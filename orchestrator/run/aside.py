"""Starting over: the run of the same name is kept, under another one."""

from collections.abc import Callable
from pathlib import Path

from orchestrator.run.directory import RunDirectory
from orchestrator.run.lease import hold_lease
from orchestrator.run.reap import reap_leftovers


def set_aside(run_dir: Path, *, say: Callable[[str], None]) -> Path | None:
    """Renames the directory of a run that is to be started over, and says to what.

    Where there is no run, nothing is done. Not to be called with a file in it open for writing,
    such as the log of this process: it would go on into the old run.

    Raises:
        JobFailedError: the run is being trained.
        CheckpointError: it cannot be renamed.
    """
    if not RunDirectory(path=run_dir).is_run:
        return None
    with hold_lease(run_dir, say=say) as lease:
        # What a killed driver left would look for its run under the old name.
        reap_leftovers(run_dir)
        target = _free_name(run_dir)
        lease.move(target)
    say(f"starting over; the run of before is kept in {target}")
    return target


def _free_name(run_dir: Path) -> Path:
    number = 1
    while (target := run_dir.with_name(f"{run_dir.name}.old-{number:03d}")).exists():
        number += 1
    return target
