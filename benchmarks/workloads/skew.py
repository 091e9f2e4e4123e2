"""W5: some of the work takes far longer; nobody should have to wait for it but who does it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.harness.outcome import Check, Figure, Outcome, Settings, at_least, figure
from benchmarks.harness.repeat import Contender, Rounds, Series, run_rounds
from benchmarks.workloads.waiting_work import SECONDS, skewed, wait, write_waits

NAME = "skew"
TITLE = "W5: skewed work, strict and relaxed order"
SLOTS = 8
BATCH, BATCH_S = 32, 0.08
# The rate is taken before the last batches: workers that run out of them would count as slow.
_UNTIL = 0.8
_TORCH, _DEEP = "DataLoader in order", "DataLoader in order, 16 ahead"


@dataclass(frozen=True, kw_only=True)
class Skew:
    """One unit of work in `slow_every` takes `times` as long; a batch, or a row among others."""

    name: str
    slow_every: int
    times: int
    clustered: bool
    contenders: tuple[str, ...]


CLUSTERED = Skew(
    name="a batch in 10 takes 10x",
    slow_every=10,
    times=10,
    clustered=True,
    contenders=("strict", "relaxed", _TORCH, _DEEP),
)
SPREAD = Skew(
    name="a row in 10 takes 10x",
    slow_every=10,
    times=10,
    clustered=False,
    contenders=("strict",),
)
STRAGGLERS = Skew(
    name="a batch in 100 takes 50x",
    slow_every=100,
    times=50,
    clustered=True,
    contenders=("strict", "relaxed"),
)


def run(settings: Settings) -> Outcome:
    """Work done a second, as a part of what the workers could do if none ever waited."""
    skews: tuple[Skew, ...] = (CLUSTERED, SPREAD, STRAGGLERS)
    batches, rounds = 400, settings.rounds
    if settings.quick:
        skews = (replace(CLUSTERED, contenders=("strict",)),)
        batches, rounds = 100, 1
    contenders = [each for skew in skews for each in _contenders(settings.folder, skew, batches)]
    found = run_rounds(contenders, rounds=rounds)
    return Outcome(
        name=NAME,
        title=TITLE,
        figures=list(_figures(found, contenders)),
        checks=[check for skew in skews for check in _checks(found, skew)],
        notes=[
            f"Work is a timed wait in {SLOTS} workers: a batch of {BATCH} rows takes"
            f" {BATCH_S * 1e3:.0f} ms and no CPU. A window of ours is a batch, and so is an item of"
            " DataLoader; both take them in random order, and both call the same function.",
            "Parts of the ideal, in which no worker ever waits, from a fifth to four fifths of the"
            " rows. DataLoader has its default of 2 batches ahead for each worker, or 16.",
            "Slow rows among others make batches that are alike, and DataLoader has no skew to"
            " suffer from. So it is compared only where whole batches are slow.",
        ],
    )


def _contenders(folder: Path, skew: Skew, batches: int) -> Iterator[Contender]:
    seconds = skewed(
        batches,
        batch=BATCH,
        seconds=BATCH_S,
        slow_every=skew.slow_every,
        times=skew.times,
        clustered=skew.clustered,
    )
    kind = "batches" if skew.clustered else "rows"
    name = f"skew-{batches}-{BATCH_S}-{kind}-{skew.slow_every}-{skew.times}"
    data = write_waits(folder, name, seconds, row_group=BATCH)
    torch = {"data": str(data), "workers": SLOTS, "until": _UNTIL}
    arguments: dict[str, dict[str, object]] = {_TORCH: torch, _DEEP: {**torch, "prefetch": 16}}
    for contender in skew.contenders:
        theirs = arguments.get(contender)
        loader = "ours" if theirs is None else "torch_waits"
        yield Contender(
            name=f"{skew.name}: {contender}",
            call=f"benchmarks.loaders.{loader}:run",
            arguments=ours_arguments(data, order=contender) if theirs is None else theirs,
        )


def ours_arguments(data: Path, *, order: str) -> dict[str, object]:
    """What our stream is asked for, with a batch to a window."""
    return {
        "data": str(data),
        "work": f"{wait.__module__}:{wait.__name__}",
        "batch": BATCH,
        "key": SECONDS,
        "until": _UNTIL,
        "whole_pool": True,
        "order": order,
        "shuffle": {"type": "window", "rows": BATCH},
        "scaling": {"preprocessing": {"workers": SLOTS, "cpus": 0.25}},
    }


def _part_of_ideal(found: Rounds, contender: str) -> Series:
    values = found.series(contender, "key_per_s").values
    return Series(tuple(value / SLOTS for value in values))


def _figures(found: Rounds, contenders: list[Contender]) -> Iterator[Figure]:
    for each in contenders:
        yield figure(f"{each.name}: rate", "rows/s", found.series(each.name, "rows_per_s"))
        for name, what in (("median", "next_p50_s"), ("99 %", "next_p99_s")):
            yield figure(f"{each.name}: next batch, {name}", "s", found.series(each.name, what))


def _checks(found: Rounds, skew: Skew) -> Iterator[Check]:
    targets = {"strict": 0.75, "relaxed": 0.90}
    for contender in skew.contenders:
        name = f"{skew.name}: {contender}"
        part = _part_of_ideal(found, name)
        yield at_least(f"{name}, part of ideal", part, targets.get(contender))
    strict = found.series(f"{skew.name}: strict", "key_per_s")
    for contender in (each for each in skew.contenders if each not in targets):
        ratio = strict.over(found.series(f"{skew.name}: {contender}", "key_per_s"))
        asked = 2.0 if skew is CLUSTERED and contender == _TORCH else None
        yield at_least(f"{skew.name}: strict over {contender}", ratio, asked)
