"""Contenders measured in turn, round after round, each time in a process of its own.

Machines differ and drift, so a figure means something only beside others of the same round. Every
second round goes backwards (A B C, C B A, ...), so that a drift does not favour one of them.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).resolve().parents[2]
# What a contender's function returns: figures by their name, such as rows_per_s.
Reading: TypeAlias = dict[str, float]
# A repetition that takes longer is stuck.
_LIMIT_S = 900.0
# One thread each for what would otherwise take all cores in every process: the contenders are
# compared with equal numbers of workers.
_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "ARROW_NUM_THREADS": "1",
}


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A function `module:name` of ours that is called with these arguments and returns a Reading.

    `python` is another interpreter for what cannot be installed beside the others.
    """

    name: str
    call: str
    arguments: Mapping[str, object] = field(default_factory=dict)
    python: str = sys.executable


@dataclass(frozen=True)
class Series:
    """Values of one figure, one a round."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        return min(self.values)

    @property
    def high(self) -> float:
        return max(self.values)

    def over(self, other: "Series") -> "Series":
        """The ratio of the two in each round."""
        pairs = zip(self.values, other.values, strict=True)
        return Series(tuple(mine / theirs for mine, theirs in pairs))


@dataclass(frozen=True)
class Rounds:
    """The readings of all contenders: by name, one a round."""

    readings: Mapping[str, Sequence[Reading]]

    def series(self, contender: str, figure: str) -> Series:
        return Series(tuple(reading[figure] for reading in self.readings[contender]))

    def best(self, names: Sequence[str], figure: str) -> str:
        """The contender of the highest median."""
        return max(names, key=lambda name: self.series(name, figure).median)


class RepetitionFailedError(Exception):
    """A contender's process failed or went on for too long."""


def run_rounds(
    contenders: Sequence[Contender],
    *,
    rounds: int,
    say: Callable[[str], None] = lambda text: print(text, flush=True),
) -> Rounds:
    """Measures all contenders once a round.

    Raises:
        RepetitionFailedError: one failed.
    """
    readings: dict[str, list[Reading]] = {contender.name: [] for contender in contenders}
    for number in range(rounds):
        for contender in contenders if number % 2 == 0 else reversed(contenders):
            reading = run_once(contender)
            readings[contender.name].append(reading)
            shown = ", ".join(f"{name} {value:,.4g}" for name, value in reading.items())
            say(f"  round {number + 1}/{rounds}  {contender.name:<34} {shown}")
    return Rounds(readings)


def run_once(contender: Contender) -> Reading:
    """One repetition, in a new process.

    Raises:
        RepetitionFailedError: it failed.
    """
    command = [
        contender.python,
        "-m",
        "benchmarks.harness.once",
        contender.call,
        json.dumps(contender.arguments),
    ]
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **_ONE_THREAD},
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RepetitionFailedError(f"{contender.name}: no end after {_LIMIT_S:.0f} s") from error
    if done.returncode:
        # A process that was killed has left no other trace than its code.
        said = f"exit code {done.returncode}: {done.stderr[-4000:]}"
        raise RepetitionFailedError(f"{contender.name}: {said}")
    reading: Reading = json.loads(done.stdout.splitlines()[-1])
    return reading
