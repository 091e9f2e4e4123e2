"""The queue of a storage: its order, its files, and a crash at any moment of a start."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import JobFailedError, SpecError
from orchestrator.submit.queue import Queue
from orchestrator.submit.queue_runner import ensure_runner, queued, run_queue, start_next
from orchestrator.submit.status import JobStatus
from orchestrator.submit.submission import Submission

if TYPE_CHECKING:
    from orchestrator.submit.client import JobClient


class CrashError(Exception):
    """The end of a runner."""


@dataclass
class FakeServer:
    """A job server: jobs run until they are told to end. It can fail before or after a start."""

    started: list[str] = field(default_factory=list)
    open: list[JobStatus] = field(default_factory=list)
    ended: list[JobStatus] = field(default_factory=list)
    crash: str | None = None
    target: SimpleNamespace = field(
        default_factory=lambda: SimpleNamespace(here=True, url="http://127.0.0.1:1")
    )

    def jobs(self) -> Sequence[JobStatus]:
        return [*self.ended, *self.open]

    def submit(self, submission: Submission, *, entry: str | None = None) -> None:
        assert submission.package.read_bytes() == submission.run.encode()
        if self.crash == "before":
            raise CrashError
        self.started.append(submission.run)
        self.open.append(
            JobStatus(
                job=f"{submission.run}@1",
                run=submission.run,
                run_dir=submission.run_dir,
                word="running",
                entry=entry,
            )
        )
        if self.crash == "after":
            raise CrashError

    def submit_helper(self, name: str, entrypoint: str, *, metadata: dict[str, str]) -> str:
        job = f"{name}@{sum(job.run is None for job in self.jobs()) + 1}"
        queue = Path(next(iter(metadata.values())))
        self.open.append(JobStatus(job=job, run=None, run_dir=None, word="running", queue=queue))
        return job

    def end_all(self) -> None:
        over = [job for job in self.open if job.run is not None]
        self.ended += [replace(job, word="finished") for job in over]
        self.open = [job for job in self.open if job.run is None]


def client(server: FakeServer) -> "JobClient":
    return cast("JobClient", server)


def submission(storage: Path, run: str) -> Submission:
    package = storage / f"{run}.package"
    package.write_bytes(run.encode())
    return Submission(
        run=run,
        run_dir=storage / run,
        entrypoint="true",
        package=package,
        runtime_env={"working_dir": str(package)},
    )


def add(queue: Queue, storage: Path, run: str, priority: int = 0) -> None:
    with queue.locked():
        queue.add(submission(storage, run), priority=priority)


def test_the_higher_priority_starts_first_and_of_one_priority_who_came_first(
    tmp_path: Path,
) -> None:
    queue, server = Queue(tmp_path / ".queue"), FakeServer()
    for run, priority in (("one", 0), ("two", 0), ("urgent", 5), ("later", -5)):
        add(queue, tmp_path, run, priority)
    seen = []

    def let_end(_: float) -> None:
        seen.append(len([job for job in server.open if job.run]))
        server.end_all()

    run_queue(queue, client(server), sleep=let_end)
    assert server.started == ["urgent", "one", "two", "later"]
    assert max(seen) == 1
    assert not list(queue.folder.glob("*.zip"))


def test_no_more_run_than_may(tmp_path: Path) -> None:
    queue, server = Queue(tmp_path / ".queue"), FakeServer()
    for run in "abcd":
        add(queue, tmp_path, run)
    queue.set_at_most(3)
    assert start_next(queue, client(server))
    assert server.started == ["a", "b", "c"]
    # A job that did not come from the queue counts too.
    assert start_next(queue, client(server))
    assert server.started == ["a", "b", "c"]


@given(crashes=st.lists(st.sampled_from(["before", "after", None]), max_size=8))
def test_a_crash_neither_loses_a_job_nor_starts_it_twice(
    tmp_path_factory: pytest.TempPathFactory, crashes: list[str | None]
) -> None:
    storage = tmp_path_factory.mktemp("queue")
    queue, server = Queue(storage / ".queue"), FakeServer()
    runs = ["a", "b", "c"]
    for run in runs:
        add(queue, storage, run)
    for crash in [*crashes, *[None] * (len(runs) + 1)]:
        server.crash = crash
        with suppress(CrashError):
            start_next(Queue(queue.folder), client(server))
        server.end_all()
    assert server.started == runs
    assert queue.entries() == []


def test_a_run_waits_once(tmp_path: Path) -> None:
    queue = Queue(tmp_path / ".queue")
    add(queue, tmp_path, "one", 3)
    with pytest.raises(JobFailedError, match="one is in the queue already, with priority 3"):
        add(queue, tmp_path, "one")
    assert len(queue.entries()) == 1


def test_half_an_entry_is_none_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    queue = Queue(tmp_path / ".queue")
    add(queue, tmp_path, "one")
    (queue.folder / "00000000000000000001-half.zip").write_bytes(b"half")
    assert [entry.submission.run for entry in queue.entries()] == ["one"]
    (queue.folder / "00000000000000000001-half.json").write_text("{")
    with pytest.raises(SpecError, match=r"half\.json is damaged"):
        queue.entries()


def test_one_runner_is_at_work_and_a_dead_one_is_replaced(tmp_path: Path) -> None:
    queue, server = Queue(tmp_path / ".queue"), FakeServer()
    add(queue, tmp_path, "one")
    with queue.locked():
        first = ensure_runner(queue, client(server))
        assert ensure_runner(queue, client(server)) == first
        assert [job.run for job in queued(server.jobs())] == ["one"]
        server.open.clear()
        ensure_runner(queue, client(server))
    assert len(server.open) == 1
    queue.set_at_most(1)
    run_queue(queue, client(server), sleep=lambda _: server.end_all())
    assert queue.runner is None
