"""The mirror of a run: which one is its own, and a run brought back from it."""

import json
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from threading import Event

from orchestrator.checkpoint.files import storage_errors, sync, sync_tree, write_synced
from orchestrator.checkpoint.manifest import MANIFEST_NAME, CheckpointInfo, DamagedError
from orchestrator.checkpoint.mirror import Mirror
from orchestrator.checkpoint.remote import RemoteFiles, Retries
from orchestrator.checkpoint.retention import retention_policy
from orchestrator.errors import CheckpointError
from orchestrator.jsonl import JsonLinesWriter
from orchestrator.plan.job import JobPlan
from orchestrator.run.directory import RunDirectory, replace_file
from orchestrator.run.lease import hold_lease
from orchestrator.run.mirroring import Mirroring

# In the run's directory and in its mirror: which of the runs of this name it is.
IDENTITY_FILE = "mirror.json"
_STAGING = ".restoring"
RETRIES = Retries()


def mirroring(
    plan: JobPlan, directory: RunDirectory, *, still_ours: Callable[[], None]
) -> AbstractContextManager[object]:
    """Copies the run to its mirror while it lasts; does nothing where it has none."""
    if plan.spec.checkpoint.mirror is None:
        return nullcontext()
    identity = _identity(directory.path)
    if identity is None:
        # By time, so that the newest run of a name is found by its own.
        identity = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:8]}"
        replace_file(directory.path / IDENTITY_FILE, json.dumps({"id": identity}))
    abandon = Event()
    return Mirroring(
        Mirror(_remote(plan, abandon), f"{plan.spec.name}/{identity}"),
        directory,
        retention_policy(plan.spec.checkpoint),
        still_ours=still_ours,
        abandon=abandon,
    )


def restore(plan: JobPlan, directory: RunDirectory, *, say: Callable[[str], None]) -> None:
    """Brings a run without any checkpoint back from its mirror, if that has one.

    Raises:
        CheckpointError: the mirror cannot be read, or none of its checkpoints can be trusted.
    """
    if plan.spec.checkpoint.mirror is None or _has_checkpoints(directory.path):
        return
    remote = _remote(plan, Event())
    runs = _runs_of(remote, plan.spec.name)
    own = _identity(directory.path)
    # One that was set aside, for --fresh say, is not to come back in place of its successor.
    gone = {_identity(path) for path in directory.path.parent.glob(f"{plan.spec.name}.old-*")}
    names = [own] if own is not None else [name for name in runs if name not in gone]
    for name in sorted(set(names) & runs, reverse=True)[:1]:
        with hold_lease(directory.path, say=say):
            _bring_back(Mirror(remote, f"{plan.spec.name}/{name}"), directory, say=say)


def _bring_back(mirror: Mirror, directory: RunDirectory, *, say: Callable[[str], None]) -> None:
    listing = mirror.listing()
    damaged = dict(listing.damaged)
    with _staging(directory.path) as staging:
        for info in listing.good:
            try:
                mirror.fetch(info, staging / info.name)
            except DamagedError as error:
                damaged[info.name] = str(error)
                shutil.rmtree(staging / info.name)
                continue
            mirror.fetch_records(staging / "records")
            _put_in_place(staging, info, directory.path)
            _tell(directory, mirror, info, damaged)
            say(f"restored {info.name} from {mirror.place}")
            return
    if damaged:
        reasons = "".join(f"\n  {name}: {reason}" for name, reason in sorted(damaged.items()))
        raise CheckpointError(
            f"no checkpoint in {mirror.place} can be trusted:{reasons}",
            hint="remove them there to start from the beginning, or use another name",
        )


def _put_in_place(staging: Path, info: CheckpointInfo, run_dir: Path) -> None:
    """Moves what was fetched; the checkpoint last, as without it all of this is done again."""
    with storage_errors("restore", run_dir):
        for path in sorted((staging / "records").rglob("*")):
            target = run_dir / path.relative_to(staging / "records")
            if path.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                sync(path)
                path.replace(target)
                sync(target.parent)
        write_synced(staging / info.name / MANIFEST_NAME, info.manifest.to_bytes())
        sync_tree(staging / info.name)
        (run_dir / "checkpoints").mkdir(exist_ok=True)
        (staging / info.name).rename(run_dir / "checkpoints" / info.name)
        sync(run_dir / "checkpoints")
        sync(run_dir)


def _tell(
    directory: RunDirectory, mirror: Mirror, info: CheckpointInfo, damaged: dict[str, str]
) -> None:
    with JsonLinesWriter(directory.events) as events:
        for name, reason in sorted(damaged.items()):
            event = {"event": "mirror-damaged", "name": name, "reason": reason}
            events.write({"time": time.time(), "attempt": None, **event})
        restored = {"event": "restored", "name": info.name, "where": mirror.place}
        events.write({"time": time.time(), "attempt": None, "step": info.manifest.step, **restored})


@contextmanager
def _staging(run_dir: Path) -> Iterator[Path]:
    staging = run_dir / _STAGING
    with storage_errors("restore into", staging):
        shutil.rmtree(staging, ignore_errors=True)
        (staging / "records").mkdir(parents=True)
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _has_checkpoints(run_dir: Path) -> bool:
    """Whether there have been some, damaged ones included: these are the run's own to judge."""
    folder = run_dir / "checkpoints"
    return (folder / "set-aside").is_dir() or any(folder.glob(f"step-*/{MANIFEST_NAME}"))


def _runs_of(remote: RemoteFiles, name: str) -> set[str]:
    """The runs of this name that have a checkpoint."""
    paths = (path.split("/") for path in remote.sizes(name))
    return {path[0] for path in paths if path[1:2] == ["checkpoints"] and path[-1] == MANIFEST_NAME}


def _identity(run_dir: Path) -> str | None:
    path = run_dir / IDENTITY_FILE
    try:
        with storage_errors("read", path):
            if not path.exists():
                return None
            return str(json.loads(path.read_bytes())["id"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged: it does not name the run's mirror") from error


def _remote(plan: JobPlan, abandon: Event) -> RemoteFiles:
    assert plan.spec.checkpoint.mirror is not None  # asked by both callers
    root = Path(plan.spec.runtime.data_root)
    return RemoteFiles(plan.spec.checkpoint.mirror, root=root, retries=RETRIES, wait=abandon.wait)
