"""What the small variants must keep to: far enough from what they measure for a noisy machine.

Targets are for full runs on a quiet machine. A guard only says that something has got much worse,
also where a target is missed anyway; a ratio without one is shown and not held against anything.
"""

from collections.abc import Mapping
from dataclasses import replace

from benchmarks.harness.outcome import Outcome

# Benchmark -> ratio -> guard; a ratio whose name is not always the same is named by its beginning.
GUARDS: dict[str, dict[str, float]] = {
    "tabular": {"eta = ours": 0.15, "ours / DataLoader, windows": 0.25},
    "overhead": {"automatic / best of the sweep": 0.2},
    "latency": {"8 workers": 0.7},
    "skew": {"a batch in 10 takes 10x: strict": 0.4},
    "startup": {"ours / tuned script, cold": 1.3, "epoch boundary": 250.0},
    "resume": {"a reader: at 90 % / at 10 %": 1.6, "SIGKILL of a rank": 30.0},
    "checkpoints": {"saved every 2s over not saved": 0.7},
    "memory": {"peak / what the plan says": 4.0},
    "order_cost": {"tabular: strict over relaxed": 0.5},
    "ledger_cost": {"ledger on over off": 0.8},
}


class LostGuardError(Exception):
    """A guard has no ratio any more."""


def guarded(outcome: Outcome, guards: Mapping[str, Mapping[str, float]] = GUARDS) -> Outcome:
    """The outcome of a small variant, with its guards in place of the targets.

    Raises:
        LostGuardError: the benchmark has no ratio of a guard's name.
    """
    mine = guards.get(outcome.name, {})
    for name in mine:
        if not any(check.name.startswith(name) for check in outcome.checks):
            ratios = ", ".join(check.name for check in outcome.checks)
            raise LostGuardError(f'{outcome.name}: no ratio "{name}" for its guard, only {ratios}')
    checks = [replace(check, target=_first(mine, check.name)) for check in outcome.checks]
    return replace(outcome, checks=checks)


def _first(guards: Mapping[str, float], check: str) -> float | None:
    return next((guard for name, guard in guards.items() if check.startswith(name)), None)
