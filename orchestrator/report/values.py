"""Runs as JSON for scripts: plain values under keys that stay as they are.

Moments are Unix times in seconds. Numbers that JSON does not have are the strings "NaN",
"Infinity" and "-Infinity". What is not known is null; no key is ever left out.
"""

from collections.abc import Sequence
from dataclasses import asdict

from pydantic import JsonValue

from orchestrator.jsonl import JsonObject, finite
from orchestrator.report.history import AttemptHistory
from orchestrator.report.records import Event
from orchestrator.report.row import DamagedRow, RunRow
from orchestrator.report.summary import Measured, RunSummary

ROW_KEYS = """\
keys of each run, the newest first:
  name, run_dir    its name, and where it lies
  status           running, finished, interrupted, failed, died or damaged
  reason           why, or by whom it is run; null where there is nothing to add
  step, total_steps, epoch, epochs
                   how far it is, of how much; epochs with their fraction
  loss             of the newest report of training
  metrics          of the newest validation: {name: number}, or null
  last_at          when something was last heard of it
  attempts         how many times training was begun
  bytes            the size of its directory
Moments are Unix times in seconds; NaN and the infinities are strings; what is unknown is null.
"""

SUMMARY_KEYS = """\
keys:
  name, run_dir    its name, and where it lies
  status           running, finished, interrupted, failed or died
  reason           why, or by whom it is run; null where there is nothing to add
  step, total_steps, steps_per_epoch, epoch, epochs, rows
                   how far it is, of how much; epochs with their fraction
  workers          of the newest attempt
  started_at, last_at
                   when training first began, and when something was last heard of it
  validations      those that count: [{step, metrics: {name: number}}]
  last, best       two of these, or null; best is by best_metric
  best_metric      the metric that decides
  throughput       {rows_per_s, wait_share, train_s}
  elapsed_s        seconds in which an attempt was under way
  attempts         [{number, parent, checkpoint, step, workers, driver, started_at, seconds,
                   outcome, reason}]
  restarts         how many failed attempts were followed by another
  failures         by class: [{kind, count, steps_lost, seconds_lost, seconds_down}]
  checkpoints      names, the oldest first
  best_checkpoint  one of them, or null
  troubles         events out of the ordinary: [{time, event, attempt, fields}]
  log_file         what Ray and the workers printed last
  quarantined      how many rows of each split are left out as bad: {split: number}
  bytes, sizes     of the directory, and of each entry in it
Moments are Unix times in seconds; NaN and the infinities are strings; what is unknown is null.
"""


def rows_json(rows: Sequence[RunRow | DamagedRow]) -> list[JsonValue]:
    """Returns a list of runs as plain values, with `ROW_KEYS`."""
    return [finite(_row(row) if isinstance(row, RunRow) else _damaged(row)) for row in rows]


def summary_json(summary: RunSummary) -> JsonValue:
    """Returns all there is to show of a run as plain values, with `SUMMARY_KEYS`."""
    throughput, newest = summary.throughput, summary.attempts[-1] if summary.attempts else None
    return finite(
        {
            "name": summary.name,
            "run_dir": str(summary.run_dir),
            "status": summary.status.word,
            "reason": summary.status.reason,
            "step": summary.steps,
            "total_steps": summary.total_steps,
            "steps_per_epoch": summary.steps_per_epoch,
            "epoch": summary.epochs,
            "epochs": summary.total_epochs,
            "rows": summary.rows,
            "workers": newest.workers if newest else None,
            "started_at": summary.attempts[0].started_at if newest else None,
            "last_at": summary.last_at,
            "validations": [_measured(measured) for measured in summary.validations],
            "last": _measured(summary.last) if summary.last else None,
            "best": _measured(summary.best) if summary.best else None,
            "best_metric": summary.best_metric,
            "throughput": {
                "rows_per_s": throughput.rows_per_s,
                "wait_share": throughput.wait_share,
                "train_s": throughput.train_s,
            },
            "elapsed_s": summary.elapsed_s,
            "attempts": [_attempt(attempt) for attempt in summary.attempts],
            "restarts": summary.restarts,
            "failures": [asdict(cost) for cost in summary.faults],
            "checkpoints": list(summary.checkpoints),
            "best_checkpoint": summary.best_checkpoint,
            "troubles": [_event(event) for event in summary.events],
            "log_file": str(summary.log_file) if summary.log_file else None,
            "quarantined": dict(summary.quarantined),
            "bytes": sum(summary.sizes.values()),
            "sizes": dict(summary.sizes),
        }
    )


def _row(row: RunRow) -> JsonObject:
    return {
        "name": row.name,
        "run_dir": str(row.run_dir),
        "status": row.status.word,
        "reason": row.status.reason,
        "step": row.steps,
        "total_steps": row.total_steps,
        "epoch": row.steps / row.steps_per_epoch,
        "epochs": row.total_steps / row.steps_per_epoch,
        "loss": row.loss,
        "metrics": None if row.metrics is None else dict(row.metrics),
        "last_at": row.last_at,
        "attempts": row.attempts,
        "bytes": row.size,
    }


def _damaged(row: DamagedRow) -> JsonObject:
    unknown = ("step", "total_steps", "epoch", "epochs", "loss", "metrics")
    return {
        "name": row.name,
        "run_dir": str(row.run_dir),
        "status": "damaged",
        "reason": row.reason,
        **dict.fromkeys(unknown),
        "last_at": row.last_at,
        "attempts": None,
        "bytes": None,
    }


def _measured(measured: Measured) -> JsonObject:
    return {"step": measured.step, "metrics": dict(measured.metrics)}


def _attempt(attempt: AttemptHistory) -> JsonObject:
    return {
        "number": attempt.number,
        "parent": attempt.parent,
        "checkpoint": attempt.checkpoint,
        "step": attempt.step,
        "workers": attempt.workers,
        "driver": attempt.driver,
        "started_at": attempt.started_at,
        "seconds": attempt.seconds,
        "outcome": attempt.outcome,
        "reason": attempt.reason,
    }


def _event(event: Event) -> JsonObject:
    return {
        "time": event.time,
        "event": event.event,
        "attempt": event.attempt,
        "fields": dict(event.fields),
    }
