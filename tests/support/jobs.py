"""Jobs that are submitted to a development cluster by the command, and what they leave behind."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from tests.support.local_clusters import Home
from tests.support.runs import Run

LIMIT_S = 180.0


class Submitted:
    """One run, as `orchestrator submit` starts it on the cluster of a home."""

    def __init__(self, home: Home, job: Path, name: str) -> None:
        self.home = home
        self.run = Run(job, name)
        self.name = name

    def submit(self, *options: str, code: int = 0) -> str:
        """Submits it; returns the number of the job, or what was complained about."""
        done = self.home.orchestrator(
            "submit", str(self.run.job), "--name", self.name, "--json", *options, timeout=LIMIT_S
        )
        assert done.returncode == code, done.stdout + done.stderr
        return str(json.loads(done.stdout.splitlines()[0])["job"]) if code == 0 else done.stderr

    def command(self, *arguments: str, code: int = 0) -> str:
        """Runs another verb on it; returns what was printed."""
        verb, *options = arguments
        done = self.home.orchestrator(
            verb, *options, self.name, "--storage", str(self.run.dir.parent), timeout=LIMIT_S
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def status(self) -> dict[str, Any]:
        """The newest job of the run, as `status --json` tells it."""
        return cast("dict[str, Any]", json.loads(self.command("status", "--json")))

    def wait(self, what: str, condition: Callable[[], bool]) -> None:
        """Waits for something while the job is at work."""
        deadline = time.monotonic() + LIMIT_S
        while not condition():
            assert time.monotonic() < deadline, f"no {what}: {self.command('logs')[-3000:]}"
            time.sleep(0.2)

    def wait_for_step(self, step: int) -> None:
        """Waits until a step has been reported."""
        self.wait(f"step {step}", lambda: self.run.step() >= step)

    def wait_for_end(self) -> str:
        """Waits for the job's end; returns how it ended."""
        self.wait("end", lambda: self.status()["job"]["status"] not in {"pending", "running"})
        return str(self.status()["job"]["status"])

    def wait_for_end_of_queue(self) -> str:
        """Waits for the end of a job that may still be in the queue; returns how it ended."""
        self.wait_quietly("start", lambda: (self.run.dir / "events.jsonl").exists())
        return self.wait_for_end()

    def wait_quietly(self, what: str, condition: Callable[[], bool]) -> None:
        """Waits for something before there is a job."""
        deadline = time.monotonic() + 2 * LIMIT_S
        while not condition():
            assert time.monotonic() < deadline, f"no {what} of {self.name}"
            time.sleep(0.2)
