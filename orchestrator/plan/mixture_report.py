"""A mixture in the plan: what speaks against it, and what the run takes from each source."""

from collections.abc import Iterator
from fractions import Fraction

from pydantic import JsonValue

from orchestrator.plan.mixture import MixedOrder, SourceProgress
from orchestrator.plan.pattern import SLOTS
from orchestrator.plan.sources import Mixture
from orchestrator.plan.stream import StreamPlan
from orchestrator.units import format_count

# Passes over a source within a run, and for each epoch of it, beyond which they may not be meant.
_MANY_PASSES, _MANY_AN_EPOCH = 10, 2


def mixture_problems(stream: StreamPlan) -> Iterator[str]:
    """Every weight that is too small to have a place in the pattern, a line each."""
    if stream.mixture is None:
        return
    for number, phase in enumerate(stream.mixture.phases):
        whole = sum(map(Fraction, phase.weights), Fraction(0))
        for name, weight in zip(stream.mixture.names, phase.weights, strict=True):
            if 0 < Fraction(weight) * SLOTS < whole:
                where = (
                    f"sources.{name}.weight"
                    if not number
                    else f"schedule.{number - 1}.weights.{name}"
                )
                yield (
                    f"dataset.train.{where} is {weight:g}, less than 1/{SLOTS} of all weights"
                    f" together ({float(whole):g}); 0 takes the source out"
                )


def mixture_warnings(stream: StreamPlan, total_steps: int) -> Iterator[str]:
    """Sources that are hardly what was meant, a line each."""
    epochs = total_steps / stream.geometry.steps_per_epoch
    for source in mixture_progress(stream, total_steps):
        passes = passes_of(source)
        if not source.samples:
            yield (
                f"the run ends before dataset.train.sources.{source.name} has its turn: no row of"
                " it is trained on"
            )
        elif passes > max(_MANY_PASSES, _MANY_AN_EPOCH * epochs):
            yield (
                f"dataset.train.sources.{source.name} has only"
                f" {format_count(source.pass_samples)} rows for its weight: the run makes"
                f" {passes:.4g} passes over it in {epochs:.4g} epoch{'s' * (epochs != 1)}"
            )


def mixture_progress(stream: StreamPlan, steps: int) -> tuple[SourceProgress, ...]:
    """How far each source is after so many steps of the run; empty where nothing is mixed."""
    order = stream.sample_order()
    if not isinstance(order, MixedOrder):
        return ()
    return order.progress(stream.geometry.samples_before(steps))


def passes_of(source: SourceProgress) -> float:
    """All passes over a source, the open one by what is used of it."""
    return source.samples / source.pass_samples


def mixture_text(stream: StreamPlan, total_steps: int) -> Iterator[str]:
    """A line for each source, and for each change of the weights."""
    if stream.mixture is None:
        return
    first, *later = stream.mixture.phases
    progress = mixture_progress(stream, total_steps)
    names = max(len(source.name) for source in progress)
    for source, share in zip(progress, first.shares, strict=True):
        passes = passes_of(source)
        yield (
            f"{source.name:<{names}}  {share:.4g} of {format_count(source.pass_samples)} rows:"
            f" {passes:.4g} pass{'es' * (passes != 1)}"
        )
    for phase in later:
        parts = zip(stream.mixture.names, phase.shares, strict=True)
        shares = ", ".join(f"{name} {share:.4g}" for name, share in parts)
        yield f"from row {format_count(phase.start)} on: {shares}"


def mixture_json(stream: StreamPlan, total_steps: int) -> dict[str, JsonValue] | None:
    """The same as plain values; None where nothing is mixed."""
    mixture = stream.mixture
    if mixture is None:
        return None
    return {
        "sources": [
            {
                "name": source.name,
                "rows": source.pass_samples,
                "samples": source.samples,
                "passes": passes_of(source),
            }
            for source in mixture_progress(stream, total_steps)
        ],
        "weights": [
            {"from": phase.start, "shares": _by_name(mixture, phase.shares)}
            for phase in mixture.phases
        ],
    }


def _by_name(mixture: Mixture, shares: tuple[float, ...]) -> dict[str, JsonValue]:
    return dict(zip(mixture.names, shares, strict=True))
