"""What the rows cost: measured in a process of its own while Ray starts, and kept for a resume."""

import json
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import IO

from pydantic import JsonValue, TypeAdapter, ValidationError

from orchestrator.checkpoint.files import storage_errors
from orchestrator.data.fitted import FittedState
from orchestrator.data.reader import StageTask
from orchestrator.jsonl import JsonLinesWriter
from orchestrator.plan.job import JobPlan
from orchestrator.plan.tuning import MeasuredCost
from orchestrator.run.directory import RunDirectory, replace_file

COST_FILE = "cost.json"
# How long a start may be held up for a measurement that is not there yet.
_PATIENCE_S = 2.0
_LOOK_EVERY_S = 0.02
_STORED = TypeAdapter(dict[str, str | MeasuredCost])


class CostProbe:
    """Measures the cost of a plan's training rows, once; a context that ends what it started."""

    def __init__(self, directory: RunDirectory, events: JsonLinesWriter) -> None:
        self._path = directory.path / COST_FILE
        self._events = events
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None

    def begin(self, plan: JobPlan, fitted: tuple[FittedState, ...] = ()) -> None:
        """Starts measuring in the background, unless that is under way or known from before.

        Args:
            fitted: the states of the fitted transforms.
        """
        if self._process is not None or plan.cost is not None or self._known(plan) is not None:
            return
        (stream, superblocks), *_ = plan.streams_from(0)
        root = Path(plan.spec.runtime.working_dir)
        task = StageTask(
            stream=stream,
            position=0,
            root=root,
            workers=plan.workers,
            superblocks=superblocks,
            fitted=fitted,
        )
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - close() closes it
        with tempfile.TemporaryFile() as given:
            pickle.dump(task, given)
            given.seek(0)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "orchestrator.data.probe"],
                cwd=root,
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=self._errors,
            )

    def applied_to(
        self, plan: JobPlan, fitted: tuple[FittedState, ...], *, check: Callable[[], None]
    ) -> JobPlan:
        """The plan for what its rows cost; as it is where that could not be measured in time.

        Args:
            check: called several times a second; what it raises ends the wait.

        Raises:
            PlanError: it cannot be carried out so.
        """
        if plan.cost is not None:
            return plan
        if (cost := self._known(plan)) is None:
            self.begin(plan, fitted)
            cost = self._wait(check)
            if cost is None:
                return plan
            record = {"order": plan.fingerprint.digest, "cost": asdict(cost)}
            replace_file(self._path, json.dumps(record, indent=1))
        tuned = plan.measured(cost)
        stage = tuned.train.stages[0]
        self._tell(
            "measured",
            rows=cost.rows,
            row_us=cost.row_s * 1e6,
            busy=cost.busy,
            row_bytes=cost.row_bytes,
            workers=stage.workers[1],
            cpus=stage.cpus,
            tasks_in_flight=stage.tasks_in_flight,
            superblock_steps=tuned.train.geometry.superblock_steps,
            prefetch_blocks=tuned.train.prefetch_blocks,
        )
        return tuned

    def close(self) -> None:
        """Ends a measurement that is still under way."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
        if self._errors is not None:
            self._errors.close()

    def _wait(self, check: Callable[[], None]) -> MeasuredCost | None:
        process, errors = self._process, self._errors
        if process is None or errors is None or process.stdout is None:
            return None
        deadline = time.monotonic() + _PATIENCE_S
        while process.poll() is None and time.monotonic() < deadline:
            check()
            time.sleep(_LOOK_EVERY_S)
        if process.poll() is None:
            # A row that takes so long is for the stream to wait for, not for its start.
            self._tell("not-measured", reason="the first rows took too long")
            return None
        if process.returncode:
            errors.seek(0)
            last = errors.read().decode(errors="replace").strip().splitlines()[-1:]
            # The stream meets the same mistake, and tells of it with the rows and the line.
            self._tell("not-measured", reason=" ".join(last) or f"exit {process.returncode}")
            return None
        return MeasuredCost(**json.loads(process.stdout.read()))

    def _known(self, plan: JobPlan) -> MeasuredCost | None:
        """What an earlier start has measured of the same rows and transforms."""
        with storage_errors("read", self._path):
            text = self._path.read_text() if self._path.exists() else None
        try:
            stored = _STORED.validate_json(text) if text is not None else {}
        except ValidationError:
            return None  # damaged: measured anew
        cost = stored.get("cost")
        known = stored.get("order") == plan.fingerprint.digest
        return cost if known and isinstance(cost, MeasuredCost) else None

    def _tell(self, event: str, **fields: JsonValue) -> None:
        self._events.write({"time": time.time(), "event": event, "attempt": None, **fields})
