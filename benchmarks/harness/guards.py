"""What the small variants must keep to: far enough from what they measure for a noisy machine.

Targets are for full runs on a quiet machine. A guard only says that something has got much worse,
also where a target is missed anyway; a ratio without one is shown and not held against anything.
"""

from collections.abc import Mapping
from dataclasses import replace

from benchmarks.harness.outcome import Outcome

# Benchmark -> ratio -> guard; a ratio whose name is not always the same is named by its beginning.
GUARDS: dict[str, dict[str, float]] = {}


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
