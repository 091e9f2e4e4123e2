"""A job plan as text for people and as JSON for scripts."""

import textwrap
from collections.abc import Iterator
from dataclasses import asdict

from pydantic import JsonValue

from orchestrator.plan.elastic import elastic_topic
from orchestrator.plan.job import JobPlan
from orchestrator.plan.memory import stream_memory
from orchestrator.plan.mixture_report import mixture_json, mixture_text
from orchestrator.plan.resources import Need
from orchestrator.plan.stream import StreamPlan
from orchestrator.units import Interval, format_bytes, format_count

_WIDTH = 100
_LABEL = 15


def render_text(plan: JobPlan) -> str:
    """The plan, a topic a paragraph, at most 100 columns wide but for longer paths."""
    lines = [f"job {plan.spec.name}"]
    for label, text in _topics(plan):
        lines += _paragraph(label, text)
    for warning in plan.warnings:
        lines += _paragraph("warning", warning)
    return "\n".join(lines)


def _paragraph(label: str, text: str) -> Iterator[str]:
    width = _WIDTH - _LABEL - 3
    for line in text.splitlines():
        # Folded between words only: half a path would be of no use.
        folded = textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)
        for part in [line] if len(line) <= width else folded:
            yield f"  {label:<{_LABEL}} {part}"
            label = ""


def render_json(plan: JobPlan) -> dict[str, JsonValue]:
    """The plan as plain values; sizes in bytes."""
    splits = [plan.train, *([plan.validation] if plan.validation else [])]
    geometry = plan.train.geometry
    return {
        "name": plan.spec.name,
        "run_dir": str(plan.run_dir),
        "splits": {stream.split: _split_json(stream) for stream in splits},
        "mixture": mixture_json(plan.train, plan.total_steps),
        "steps_per_epoch": geometry.steps_per_epoch,
        "total_steps": plan.total_steps,
        "counted": plan.is_counted,
        "order": plan.spec.dataset.order,
        "global_batch_size": geometry.batch,
        "workers": plan.workers,
        "workers_range": list(plan.spec.scaling.workers),
        "lanes": geometry.lanes,
        "lanes_per_worker": list(_lanes_per_worker(plan)),
        "superblock_steps": geometry.superblock_steps,
        "superblock_bytes": plan.train.superblock_bytes,
        "superblock_bytes_per_worker": _held_bytes(plan),
        "window_rows": geometry.window_steps * geometry.batch,
        "window_bytes": plan.train.window_bytes,
        "prefetch_blocks": plan.train.prefetch_blocks,
        "tasks_in_flight": plan.train.stages[0].tasks_in_flight,
        "measured": None if plan.cost is None else asdict(plan.cost),
        "store_bytes": stream_memory(plan.train, plan.cost).total,
        "read_amplification": plan.train.sample_order().read_amplification(),
        "validate_every_steps": plan.validate_every if plan.validation else None,
        "fitted": [{"use": fit.use, "position": fit.position} for fit in plan.fitted],
        "checkpoint_every": str(plan.spec.checkpoint.every),
        "checkpoint_every_steps": _steps_between(plan.spec.checkpoint.every, plan),
        "resources": {
            "needs": [
                {"what": need.what, "count": need.count, "cpus": need.cpus, "gpus": need.gpus}
                for need in plan.resources.needs
            ],
            "cpus": plan.resources.cpus,
            "gpus": plan.resources.gpus,
            "cluster_cpus": plan.resources.capacity.cpus,
            "cluster_gpus": plan.resources.capacity.gpus,
            "fits": not plan.resources.problems(),
        },
        "order_fingerprint": plan.fingerprint.digest,
        "order_parts": dict(plan.fingerprint.parts),
        "warnings": list(plan.warnings),
    }


def _topics(plan: JobPlan) -> Iterator[tuple[str, str]]:
    geometry, train = plan.train.geometry, plan.train
    yield "train", _split_text(train)
    if train.mixture is not None:
        yield "mixture", "\n".join(mixture_text(train, plan.total_steps))
    yield "validation", _split_text(plan.validation) if plan.validation else "none"
    epochs = plan.total_steps / geometry.steps_per_epoch
    yield (
        "steps",
        f"{format_count(plan.total_steps)} = {epochs:.4g} epoch{'s' * (epochs != 1)} of"
        f" {format_count(geometry.steps_per_epoch)}",
    )
    last = geometry.step_rows(geometry.steps_per_epoch - 1)
    short = f"; the last one of an epoch has {last}" if last < geometry.batch else ""
    if (guess := _guess(plan)) is not None:
        yield "counting", guess
    yield "global batch", f"{format_count(geometry.batch)} rows{short}"
    yield "order", _order(plan)
    yield from elastic_topic(plan.spec.scaling, plan.workers)
    few, many = _lanes_per_worker(plan)
    share = str(few) if few == many else f"{few} or {many}"
    yield (
        "lanes",
        f"{geometry.lanes} of {_number(geometry.lane_rows, 'row')}, {share} for"
        f" {'the one worker' if plan.workers == 1 else f'each of {plan.workers} workers'}",
    )
    yield (
        "superblock",
        f"{_number(geometry.superblock_steps, 'step')}, {format_bytes(train.superblock_bytes)}"
        f" before the transforms; a worker holds {format_bytes(_held_bytes(plan))} and fetches"
        f" {train.prefetch_blocks} more of these ahead",
    )
    yield "window", _window(plan)
    yield "tuning", _tuning(plan)
    yield "memory", _memory(plan)
    if plan.fitted:
        yield "fitted", "\n".join(_fitted(plan))
    yield "resources", "\n".join(_needs(plan.resources.needs))
    yield "fits", _fits(plan)
    yield "checkpoints", _checkpoints(plan)
    if plan.validation is not None:
        count = plan.validations_until(plan.total_steps)
        every = _every(plan.spec.training.validate_every)
        yield "validations", f"{every} and at the end, {format_count(count)} in all"
    yield "run directory", str(plan.run_dir)
    yield "fingerprint", f"{plan.fingerprint.digest[:16]} of the order"


def _tuning(plan: JobPlan) -> str:
    """How the preprocessing is driven, and whether that has been measured."""
    stage = plan.train.stages[0]
    chosen = (
        f"{_number(stage.workers[1], 'preprocessing worker')} of {_amount(stage.cpus, 'CPU')},"
        f" {_number(stage.tasks_in_flight, 'window')} queued at each"
    )
    cost = plan.cost
    if cost is None:
        return f"{chosen}; measured when the run starts, where the spec leaves it open"
    return (
        f"{chosen}: {cost.row_s * 1e6:,.3g} us a row measured ({cost.read_s / cost.row_s:.0%} of it"
        f" reading, {1 - cost.busy:.0%} waiting), {format_bytes(int(cost.row_bytes))} a row"
    )


def _guess(plan: JobPlan) -> str | None:
    """What is done about transforms that change the number of rows; None where there are none."""
    if all(stream.counting is None for stream in plan.streams):
        return None
    changing = [spec for spec in plan.spec.transforms if spec.changes_rows]
    uses = [f"{spec.use} ({spec.kind})" for spec in changing]
    found = "bad rows are looked for" if plan.spec.dataset.on_error == "quarantine" else ""
    counted = f"{', '.join(uses)}: what each row gives is counted" if uses else ""
    told = " and ".join(filter(None, (counted, found)))
    text = f"{told} in one pass before training"
    return text if plan.is_counted else f"{text}; until then all numbers of steps are a guess"


def _fitted(plan: JobPlan) -> Iterator[str]:
    rows = _number(plan.train.index.rows, "row")
    for fit in plan.fitted:
        yield f"{fit.use} (one pass over {rows} before training)"


def _held_bytes(plan: JobPlan) -> int:
    """Source bytes of a superblock that come to the worker with the most lanes."""
    _, many = _lanes_per_worker(plan)
    return -(-plan.train.superblock_bytes * many // plan.train.geometry.lanes)


def _needs(needs: tuple[Need, ...]) -> Iterator[str]:
    names = max(len(need.what) for need in needs)
    counts = max(len(need.count) for need in needs)
    for need in needs:
        gpus = f", {_amount(need.gpus, 'GPU')}" if need.gpus else ""
        yield (
            f"{need.what:<{names}}  {need.count:>{counts}} x,"
            f" {_amount(need.cpus, 'CPU')}{gpus} in all"
        )


def _fits(plan: JobPlan) -> str:
    capacity = plan.resources.capacity
    text = f"yes: {plan.resources.cpus:g} of {_amount(capacity.cpus, 'CPU')}"
    if capacity.gpus or plan.resources.gpus:
        text += f", {plan.resources.gpus:g} of {_amount(capacity.gpus, 'GPU')}"
    if capacity.embedded:
        text += f" of an embedded Ray, on {capacity.cores} cores"
    return text


def _number(count: int, noun: str) -> str:
    return f"{format_count(count)} {noun}" + "s" * (count != 1)


def _every(every: Interval) -> str:
    """An interval as people say it: every epoch, every 2 epochs."""
    return "every " + str(every).removeprefix("1 ")


def _amount(number: float, unit: str) -> str:
    return f"{number:g} {unit}" + "s" * (number != 1)


def _split_text(stream: StreamPlan) -> str:
    index = stream.index
    return (
        f"{_number(index.rows, 'row')} in {_number(len(index.fragments), 'fragment')} of"
        f" {_number(index.files, 'file')}, {format_bytes(index.bytes)};"
        f" columns {', '.join(column.name for column in index.columns)}"
    )


def _split_json(stream: StreamPlan) -> dict[str, JsonValue]:
    index = stream.index
    return {
        "rows": index.rows,
        "samples": stream.geometry.rows,
        "fragments": len(index.fragments),
        "files": index.files,
        "bytes": index.bytes,
        "columns": {column.name: column.dtype for column in index.columns},
    }


def _order(plan: JobPlan) -> str:
    relaxed = "; relaxed: superblocks in the order in which they are ready"
    return _shuffle(plan) + (relaxed if plan.train.relaxed else "")


def _shuffle(plan: JobPlan) -> str:
    shuffle = plan.spec.dataset.shuffle.type
    mixed = plan.train.mixture is not None
    every = "pass over each source" if mixed else "epoch"
    if shuffle == "none":
        return f"as the files are, the same in every {every}"
    what = "fragments" if shuffle == "fragments" else "fragments and rows"
    return f"{what} shuffled anew in {'every' if mixed else 'each'} {every}, seed {plan.spec.seed}"


def _window(plan: JobPlan) -> str:
    geometry = plan.train.geometry
    rows = geometry.window_steps * geometry.batch
    size = format_bytes(plan.train.window_bytes)
    if rows >= geometry.rows:
        return f"the whole epoch, {size}, read by one task"
    amplification = plan.train.sample_order().read_amplification()
    return (
        f"{format_count(rows)} rows, {size}, {geometry.windows_per_epoch} an epoch; each row is"
        f" read {amplification:.2f} times"
    )


def _memory(plan: JobPlan) -> str:
    memory = stream_memory(plan.train, plan.cost)
    counted = "" if plan.cost else "; counted before the transforms"
    return (
        f"{format_bytes(memory.total)} of object store keep it going:"
        f" {format_bytes(memory.made)} made and waiting for their turn,"
        f" {format_bytes(memory.passed_on)} at the workers{counted}"
    )


def _lanes_per_worker(plan: JobPlan) -> tuple[int, int]:
    lanes = plan.train.geometry.lanes
    return lanes // plan.workers, -(-lanes // plan.workers)


def _checkpoints(plan: JobPlan) -> str:
    spec = plan.spec.checkpoint
    steps = _steps_between(spec.every, plan)
    if steps is None:
        when = f"{_every(spec.every)} and at the end"
    else:
        count = -(-plan.total_steps // steps)
        when = f"{_every(spec.every)} and at the end, {format_count(count)} in all"
    kept = f"the latest {spec.keep_latest}"
    if spec.best is not None:
        kept += f" and the best {spec.best.keep} by {spec.best.metric} ({spec.best.mode})"
        when += "; also whenever a validation is the best so far"
    if spec.keep_every is not None:
        kept += f" and the first of each {format_count(spec.keep_every)} steps"
    return f"{when}; kept are {kept}"


def _steps_between(every: Interval, plan: JobPlan) -> int | None:
    if every.seconds is not None:
        return None
    if every.epochs is not None:
        return every.epochs * plan.train.geometry.steps_per_epoch
    return every.steps
