"""What a run came to, read from its directory."""

from orchestrator.checkpoint.manifest import CheckpointInfo
from orchestrator.checkpoint.policy import BestN
from orchestrator.jsonl import read_json_lines
from orchestrator.plan.job import JobPlan
from orchestrator.report.effective import AttemptLink
from orchestrator.report.records import parse_events, parse_records
from orchestrator.report.storage import entry_sizes
from orchestrator.report.summary import RunSummary, summarise
from orchestrator.run.directory import RunDirectory


def summarise_run(plan: JobPlan, directory: RunDirectory, *, status: str) -> RunSummary:
    """The summary of a run, from its files alone."""
    best = plan.spec.checkpoint.best
    checkpoints = directory.checkpoints.committed()
    links = [
        AttemptLink(attempt=attempt.number, parent=attempt.parent, start_step=attempt.step)
        for attempt in directory.attempts.all()
    ]
    return summarise(
        parse_records(read_json_lines(directory.metrics)),
        parse_events(read_json_lines(directory.events)),
        links,
        name=plan.spec.name,
        run_dir=directory.path,
        status=status,
        steps_per_epoch=plan.train.geometry.steps_per_epoch,
        best_metric=best.metric if best else "loss",
        best_mode=best.mode if best else "min",
        checkpoints=[info.name for info in reversed(checkpoints)],
        best_checkpoint=_best_of(plan, checkpoints),
        log_file=directory.newest_log(),
        sizes=entry_sizes(directory.path),
    )


def _best_of(plan: JobPlan, checkpoints: list[CheckpointInfo]) -> str | None:
    best = plan.spec.checkpoint.best
    if best is None:
        return None
    ranked = BestN(metric=best.metric, mode=best.mode).ranked(checkpoints)
    return ranked[0].name if ranked else None
