"""Checkpoints and mirrors for tests, small ones."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from orchestrator.checkpoint.manifest import Manifest
from orchestrator.checkpoint.mirror import Mirror
from orchestrator.checkpoint.remote import RemoteFiles, Retries
from orchestrator.checkpoint.retention import LatestN
from orchestrator.checkpoint.store import CheckpointStore
from orchestrator.jsonl import read_json_lines
from orchestrator.run.directory import RunDirectory
from orchestrator.run.mirroring import Mirroring

FILES = {"model.bin": b"weights" * 50, "rank/0.bin": b"random state"}
QUICK = Retries(count=4, first_s=0.01, longest_s=0.05)


def save(store: CheckpointStore, step: int, attempt: int = 1) -> Manifest:
    """Commits a checkpoint; its weights hold its step."""
    directory = store.stage(step, attempt)
    for name, content in FILES.items():
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content + str(step).encode())
    blank = Manifest(
        name="",
        attempt=attempt,
        step=step,
        cursor={"epoch": 0, "step": step},
        metrics={},
        order_fingerprint="f",
        parts={},
        versions={},
    )
    return store.commit(directory, blank, fence=lambda: None)


def run_in(tmp_path: Path) -> RunDirectory:
    """A run's directory with some records."""
    directory = RunDirectory(path=tmp_path / "runs" / "job")
    (directory.path / "attempts").mkdir(parents=True)
    (directory.path / "attempts" / "1.json").write_text("{}")
    (directory.path / "job.yaml").write_text("secret")
    directory.metrics.write_text("{}\n")
    return directory


def open_mirror(uri: str | Path, *, retries: Retries = QUICK) -> Mirror:
    """A mirror of its own eyes: nothing of it is kept in memory."""
    return Mirror(RemoteFiles(str(uri), root=Path("/"), retries=retries), "job/1")


def keep(mirror: Mirror, directory: RunDirectory, *, end_wait_s: float = 30.0) -> Mirroring:
    """The thread that keeps a mirror, with short waits."""
    return Mirroring(
        mirror,
        directory,
        LatestN(2),
        still_ours=lambda: None,
        abandon=threading.Event(),
        poll_s=0.02,
        pause_s=0.02,
        end_wait_s=end_wait_s,
    )


def names(mirror: Mirror) -> list[str]:
    """The checkpoints in a mirror, newest first."""
    return [info.name for info in mirror.listing().good]


def told(directory: RunDirectory) -> list[str]:
    """The events of a run, by kind."""
    return [str(event["event"]) for event in read_json_lines(directory.events)]


def wait_for(condition: Callable[[], bool], *, limit_s: float = 60.0) -> None:
    """Waits until something is so."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
