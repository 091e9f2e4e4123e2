"""A job plan as text for people and as JSON for scripts."""

from collections.abc import Iterator

from pydantic import JsonValue

from orchestrator.plan.job import JobPlan
from orchestrator.plan.stream import StreamPlan
from orchestrator.units import Interval, format_bytes, format_count

_LABEL = 15


def render_text(plan: JobPlan) -> str:
    """The plan, a topic a paragraph, at most 100 columns wide."""
    lines = [f"job {plan.spec.name}"]
    for label, text in _topics(plan):
        lines.append(f"  {label:<{_LABEL}} {text}")
    for warning in plan.warnings:
        lines.append(f"  {'warning':<{_LABEL}} {warning}")
    return "\n".join(lines)


def render_json(plan: JobPlan) -> dict[str, JsonValue]:
    """The plan as plain values; sizes in bytes."""
    splits = [plan.train, *([plan.validation] if plan.validation else [])]
    geometry = plan.train.geometry
    return {
        "name": plan.spec.name,
        "run_dir": str(plan.run_dir),
        "splits": {stream.split: _split_json(stream) for stream in splits},
        "steps_per_epoch": geometry.steps_per_epoch,
        "total_steps": plan.total_steps,
        "global_batch_size": geometry.batch,
        "workers": plan.workers,
        "lanes": geometry.lanes,
        "lanes_per_worker": list(_lanes_per_worker(plan)),
        "superblock_steps": geometry.superblock_steps,
        "superblock_bytes": plan.train.superblock_bytes,
        "window_rows": geometry.window_steps * geometry.batch,
        "read_amplification": plan.train.sample_order().read_amplification(),
        "validate_every_steps": plan.validate_every if plan.validation else None,
        "checkpoint_every": str(plan.spec.checkpoint.every),
        "resources": {
            "needs": [
                {"what": need.what, "count": need.count, "cpus": need.cpus, "gpus": need.gpus}
                for need in plan.resources.needs
            ],
            "cpus": plan.resources.cpus,
            "gpus": plan.resources.gpus,
            "cluster_cpus": plan.resources.capacity.cpus,
            "cluster_gpus": plan.resources.capacity.gpus,
        },
        "order_fingerprint": plan.fingerprint.digest,
        "order_parts": dict(plan.fingerprint.parts),
        "warnings": list(plan.warnings),
    }


def _topics(plan: JobPlan) -> Iterator[tuple[str, str]]:
    geometry, train = plan.train.geometry, plan.train
    yield "train", _split_text(train)
    yield "validation", _split_text(plan.validation) if plan.validation else "none"
    epochs = plan.total_steps / geometry.steps_per_epoch
    yield (
        "steps",
        f"{format_count(plan.total_steps)} = {epochs:g} epochs of"
        f" {format_count(geometry.steps_per_epoch)}",
    )
    last = geometry.step_rows(geometry.steps_per_epoch - 1)
    short = f"; the last one of an epoch has {last}" if last < geometry.batch else ""
    yield "global batch", f"{format_count(geometry.batch)} rows{short}"
    yield "order", _order(plan)
    few, many = _lanes_per_worker(plan)
    share = str(few) if few == many else f"{few} or {many}"
    yield (
        "lanes",
        f"{geometry.lanes} of {geometry.lane_rows} rows, {share} for each of"
        f" {plan.workers} workers",
    )
    held = train.superblock_bytes * many / geometry.lanes
    yield (
        "superblock",
        f"{geometry.superblock_steps} steps, {format_bytes(train.superblock_bytes)} before the"
        f" transforms; a worker holds {format_bytes(int(held))} and prefetches as much",
    )
    yield "window", _window(plan)
    for need in plan.resources.needs:
        gpus = f", {need.gpus:g} GPUs" if need.gpus else ""
        yield "resources", f"{need.what}: {need.count} x, {need.cpus:g} CPUs{gpus} in all"
    capacity = plan.resources.capacity
    kind = "an embedded Ray with" if capacity.embedded else "the cluster has"
    yield (
        "fits",
        f"yes: {plan.resources.cpus:g} of {capacity.cpus:g} CPUs, {plan.resources.gpus:g} of"
        f" {capacity.gpus:g} GPUs ({kind} {capacity.cores} cores)"
        if capacity.embedded
        else f"yes: {plan.resources.cpus:g} of {capacity.cpus:g} CPUs,"
        f" {plan.resources.gpus:g} of {capacity.gpus:g} GPUs",
    )
    yield "checkpoints", _checkpoints(plan)
    yield "run directory", str(plan.run_dir)
    yield "fingerprint", plan.fingerprint.digest[:16]


def _split_text(stream: StreamPlan) -> str:
    index = stream.index
    return (
        f"{format_count(index.rows)} rows in {format_count(len(index.fragments))} fragments of"
        f" {format_count(index.files)} files, {format_bytes(index.bytes)};"
        f" columns {', '.join(column.name for column in index.columns)}"
    )


def _split_json(stream: StreamPlan) -> dict[str, JsonValue]:
    index = stream.index
    return {
        "rows": index.rows,
        "fragments": len(index.fragments),
        "files": index.files,
        "bytes": index.bytes,
        "columns": {column.name: column.dtype for column in index.columns},
    }


def _order(plan: JobPlan) -> str:
    shuffle = plan.spec.dataset.shuffle.type
    if shuffle == "none":
        return "as the files are, the same in every epoch"
    if shuffle == "fragments":
        return f"fragments shuffled anew in each epoch, seed {plan.spec.seed}"
    return f"fragments and rows shuffled anew in each epoch, seed {plan.spec.seed}"


def _window(plan: JobPlan) -> str:
    geometry = plan.train.geometry
    rows = geometry.window_steps * geometry.batch
    if rows >= geometry.rows:
        return "the whole epoch, read by one task"
    amplification = plan.train.sample_order().read_amplification()
    return (
        f"{format_count(rows)} rows, {geometry.windows_per_epoch} an epoch; each row is read"
        f" {amplification:.2f} times"
    )


def _lanes_per_worker(plan: JobPlan) -> tuple[int, int]:
    lanes = plan.train.geometry.lanes
    return lanes // plan.workers, -(-lanes // plan.workers)


def _checkpoints(plan: JobPlan) -> str:
    spec = plan.spec.checkpoint
    steps = _steps_between(spec.every, plan)
    if steps is None:
        when = f"every {spec.every} and at the end"
    else:
        count = -(-plan.total_steps // steps)
        when = f"every {spec.every} and at the end ({format_count(count)} in all)"
    kept = f"the latest {spec.keep_latest}"
    if spec.best is not None:
        kept += f" and the best {spec.best.keep} by {spec.best.metric} ({spec.best.mode})"
        when += ", and whenever a validation is the best so far"
    return f"{when}; {kept} kept"


def _steps_between(every: Interval, plan: JobPlan) -> int | None:
    if every.seconds is not None:
        return None
    if every.epochs is not None:
        return every.epochs * plan.train.geometry.steps_per_epoch
    return every.steps
