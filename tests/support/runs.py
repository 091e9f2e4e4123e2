"""Runs of the real command in processes of their own, and what they leave behind."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
import torch
import yaml

from orchestrator.jsonl import read_json_lines
from orchestrator.run.reap import SESSION_FILE
from orchestrator.train.state import read_parts

ROOT = Path(__file__).parents[2]
LIMIT_S = 150.0


def write_job(path: Path, **sections: object) -> Path:
    """A job spec of the small task; sections replace or add to what is there."""
    job: dict[str, object] = {
        "name": "job",
        "seed": 3,
        "runtime": {"working_dir": str(ROOT)},
        "dataset": {"train": {"paths": "missing"}},
        "transforms": [{"use": "tests.support.transforms:jitter", "splits": ["train"]}],
        "training": {
            "task": "tests.support.task:SmallTask",
            "epochs": 2,
            "global_batch_size": 24,
            "report_every": 1,
        },
        "checkpoint": {"storage": str(path.parent / "runs"), "every": "10 steps"},
    }
    for name, section in sections.items():
        old = job.get(name)
        merged = isinstance(old, dict) and isinstance(section, Mapping)
        job[name] = {**old, **section} if merged else section  # type: ignore[dict-item]
    path.write_text(yaml.safe_dump(job))
    return path


class Run:
    """One run, as `orchestrator run` starts it."""

    def __init__(self, job: Path, name: str) -> None:
        self.job = job
        self.name = name
        self.dir = job.parent / "runs" / name
        self.output = ""

    def start(self, *sets: str) -> "Driver":
        """Starts a driver, and returns at once."""
        options = [part for change in sets for part in ("--set", change)]
        command = ["run", str(self.job), "--name", self.name, *options]
        return Driver(self, [sys.executable, "-m", "orchestrator", *command])

    def complete(self, *sets: str, code: int = 0) -> str:
        """Runs a driver to its end and returns what it printed."""
        return self.start(*sets).finish(code=code)

    def metrics(self, kind: str = "train") -> list[dict[str, object]]:
        """The records of metrics.jsonl, those of lost steps too."""
        lines = read_json_lines(self.dir / "metrics.jsonl")
        return [line for line in lines if line["kind"] == kind]

    def step(self) -> int:
        """The last step that was reported."""
        records = self.metrics()
        return int(str(records[-1]["step"])) if records else 0

    def losses(self) -> dict[int, object]:
        """The loss of each step; of a step that was done again, the last one."""
        return {int(str(record["step"])): record["loss"] for record in self.metrics()}

    def events(self, kind: str) -> list[dict[str, object]]:
        """The events of one kind."""
        events = read_json_lines(self.dir / "events.jsonl")
        return [event for event in events if event["event"] == kind]

    def attempts(self) -> list[dict[str, object]]:
        """The attempts' records, oldest first."""
        files = sorted((self.dir / "attempts").glob("*.json"), key=lambda path: int(path.stem))
        return [json.loads(path.read_text()) for path in files]

    def state_digest(self) -> str:
        """A hash of every bit of the newest checkpoint's weights and optimizer state."""
        newest = max((self.dir / "checkpoints").glob("step-*"))
        parts = read_parts(newest)
        digest = hashlib.sha256()
        moments = [
            value for state in parts["optimizer"]["state"].values() for value in state.values()
        ]
        for value in [*parts["model"].values(), *moments]:
            digest.update(torch.as_tensor(value).numpy().tobytes())
        return digest.hexdigest()


class Driver:
    """A driver process of a run."""

    def __init__(self, run: Run, command: list[str]) -> None:
        self._run = run
        self._log = run.job.parent / f"{run.name}.{time.time_ns()}.out"
        with self._log.open("wb") as out:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdout=out, stderr=out, start_new_session=True
            )

    def finish(self, *, code: int = 0) -> str:
        """Waits for the end and returns what was printed."""
        got = self.process.wait(timeout=LIMIT_S)
        printed = self._log.read_text()
        assert got == code, f"exit code {got} instead of {code}:\n{printed}{self._worker_log()}"
        return printed

    def signal_group(self, number: signal.Signals) -> None:
        """Sends a signal as a terminal does: to all processes that were started from it."""
        os.killpg(self.process.pid, number)

    def wait_for(self, what: str, condition: Callable[[], bool]) -> None:
        """Waits until a condition holds while the driver is at work."""
        deadline = time.monotonic() + LIMIT_S
        while not condition():
            assert self.process.poll() is None, f"ended before {what}: {self._log.read_text()}"
            assert time.monotonic() < deadline, f"no {what} in {LIMIT_S} s"
            time.sleep(0.01)

    def wait_for_step(self, step: int) -> None:
        """Waits until a step has been reported."""
        self.wait_for(f"step {step}", lambda: self._run.step() >= step)

    def processes(self, title: str = "") -> list[psutil.Process]:
        """What Ray runs for this driver, by the title that Ray gives its processes."""
        members = members_of(self.session())
        return [process for process in members if title in title_of(process)]

    def session(self) -> Path:
        """The folder that all processes of this driver keep their logs in."""
        return Path(json.loads((self._run.dir / SESSION_FILE).read_text())["folder"])

    def _worker_log(self) -> str:
        logs = sorted((self._run.dir / "logs").glob("*.log"))
        return logs[-1].read_text()[-3000:] if logs else ""


def members_of(session: Path) -> list[psutil.Process]:
    """The processes with an open file or an argument below a session's folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and _touches(process, f"{session}/"):
                found.append(process)
        except (psutil.Error, FileNotFoundError, PermissionError):
            continue
    return found


def title_of(process: psutil.Process) -> str:
    """What a process calls itself; nothing where it has just ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _touches(process: psutil.Process, folder: str) -> bool:
    # Links and not psutil's list, which leaves out files that have been deleted since.
    links = list(Path(f"/proc/{process.pid}/fd").iterdir())
    targets = [os.readlink(link) for link in links if link.is_symlink()]  # noqa: PTH115
    return any(folder in text for text in [*targets, *process.cmdline()])


def wait_until_gone(session: Path, title: str = "", *, limit_s: float = 30.0) -> None:
    """Waits until no process of a session, or none with this title, is left."""
    deadline = time.monotonic() + limit_s
    while left := [p for p in members_of(session) if title in title_of(p)]:
        assert time.monotonic() < deadline, f"left over: {[p.cmdline()[:1] for p in left]}"
        time.sleep(0.1)
