"""What has to be so after a soak: nothing lost, nothing grown."""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.ledger.audit import audit_run
from tests.chaos.six_kills import compare
from tests.support.ledgers import assert_exact_run
from tests.support.onslaught import Onslaught
from tests.support.runs import Run
from tests.support.steady import STEPS_PER_EPOCH
from tests.support.usage import BOUNDS, MIB, Bound, Usage

# A fault costs two attempts where the first of them lands on what is about to be found dead.
ATTEMPTS_A_FAULT = 2
# Logs are there to grow: each process that is started has some.
TEMPORARY_A_FAULT = {"temporary files": 120, "temporary bytes": MIB}


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing that has to be so."""

    what: str
    holds: bool

    def __str__(self) -> str:
        return f"{'ok  ' if self.holds else 'FAIL'} {self.what}"


def same(run: Run, undisturbed: Run) -> Iterator[Check]:
    """Whether the run has done what it should, and nothing else."""
    compared, audit = compare(run, undisturbed), audit_run(run.dir)
    epochs = undisturbed.step() // STEPS_PER_EPOCH
    exact = [
        epoch.finished and epoch.used == epoch.expected and not (epoch.missing or epoch.repeated)
        for epoch in audit.epochs
    ]
    yield Check(
        what=f"orchestrator audit: {sum(exact)} of {epochs} epochs exact,"
        f" {len(audit.problems)} problems",
        holds=sum(exact) == epochs and not audit.problems,
    )
    counted = assert_exact_run(run.dir)
    yield Check(
        what=f"the exported ledger: each row once in {counted} epochs", holds=counted == epochs
    )
    for name in ("losses", "scores", "weights"):
        yield Check(
            what=f"{name}, to the last bit, are those of the undisturbed run",
            holds=getattr(compared, f"same_{name}"),
        )


def bounded_faults(run: Run, onslaught: Onslaught, *, every: int) -> Iterator[Check]:
    """Whether there were faults of each kind, and what they have cost is bounded."""
    fired, attempts = onslaught.fired, len(run.attempts())
    counts = ", ".join(f"{kind} {fired[kind]}" for kind in onslaught.kinds)
    yield Check(
        what=f"{fired.total()} faults: {counts}", holds=all(map(fired.get, onslaught.kinds))
    )
    most = 1 + ATTEMPTS_A_FAULT * fired.total()
    yield Check(
        what=f"{attempts} attempts: from {1 + onslaught.ended}, one for each fault that ends one,"
        f" to {most}",
        holds=1 + onslaught.ended <= attempts <= most,
    )
    ends = [*run.events("attempt-failed"), *run.events("driver-died")]
    lost = max(int(str(end["steps_lost"])) for end in ends)
    yield Check(
        what=f"{lost} steps lost at most by one fault, with a save every {every} steps"
        " and one more on its way",
        holds=lost <= 2 * every,
    )


def back(onslaught: Onslaught) -> str:
    """How long it took to train again, in words: it depends on the machine, and is no check."""
    seconds = [each for of_kind in onslaught.back_s.values() for each in of_kind]
    slowest = ", ".join(f"{kind} {max(each):.1f}" for kind, each in onslaught.back_s.items())
    return f"seconds to the next step: {statistics.median(seconds):.1f} as a rule; most: {slowest}"


def no_growth(usage: Usage, *, faults: int) -> Iterator[Check]:
    """Whether the last third has used no more of the machine than the first."""
    logs = {
        name: Bound(share=0.0, besides=faults * each) for name, each in TEMPORARY_A_FAULT.items()
    }
    for growth in usage.growth({**BOUNDS, **logs}):
        yield Check(what=str(growth), holds=growth.within)
