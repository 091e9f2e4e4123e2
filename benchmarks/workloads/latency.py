"""W4: work that waits for something far away; more workers have to bring as much more."""

from benchmarks.harness.outcome import Figure, Outcome, Settings, at_least, figure
from benchmarks.harness.repeat import Contender, Series, run_rounds
from benchmarks.workloads.waiting_work import KEY, latencies, wait, write_waits

NAME = "latency"
TITLE = "W4: latency-bound work, 1, 8, 16 and 32 workers with a fraction of a CPU"
MEDIAN_S, P99_S = 0.04, 0.25
# Rows of a request each; a batch, which is what one call of a worker makes, takes 0.44 s.
BATCH = 8
# Seconds that the measured part and what is around it should take.
_LONG_S, _QUICK_S = 10.0, 5.0
# Ends with it: the last workers would have nothing left to do.
_UNTIL = 0.8
# The parts of linear scaling that are to be reached, by the number of workers.
TARGETS = {8: 0.95, 16: 0.90, 32: 0.80}


def run(settings: Settings) -> Outcome:
    """Rates with more and more workers, in the same rounds."""
    counts = (1, 8) if settings.quick else (1, 8, 16, 32)
    found = run_rounds(
        [_contender(settings, workers) for workers in counts],
        rounds=min(settings.rounds, 2) if settings.quick else settings.rounds,
    )
    rates = {workers: found.series(_name(workers), "rows_per_s") for workers in counts}
    alone = rates[1]
    checks = [
        at_least(
            f"{workers} workers, part of linear",
            Series(tuple(value / workers for value in rates[workers].over(alone).values)),
            TARGETS.get(workers),
        )
        for workers in counts[1:]
    ]
    mean_s = latencies(10_000, median_s=MEDIAN_S, p99_s=P99_S).mean()
    ideal = Figure(name="1 worker that only waits", unit="rows/s", values=(1 / mean_s,))
    return Outcome(
        name=NAME,
        title=TITLE,
        figures=[ideal, *(figure(_name(count), "rows/s", rates[count]) for count in counts)],
        checks=checks,
        notes=[
            f"Each row is a request whose wait is lognormal (median {MEDIAN_S * 1e3:.0f} ms, 99 %"
            f" below {P99_S * 1e3:.0f} ms), the same for the same row; {BATCH} rows a call.",
            "Steady rates, in strict order, from a fifth to four fifths of the rows, after all"
            " workers have started.",
        ],
    )


def _name(workers: int) -> str:
    return f"{workers} workers" if workers > 1 else "1 worker"


def _contender(settings: Settings, workers: int) -> Contender:
    """So many workers, with so many rows that all counts take equally long."""
    mean_s = latencies(10_000, median_s=MEDIAN_S, p99_s=P99_S).mean()
    seconds = _QUICK_S if settings.quick else _LONG_S
    rows = int(seconds * workers / mean_s / BATCH) * BATCH
    waits = latencies(rows, median_s=MEDIAN_S, p99_s=P99_S)
    data = write_waits(settings.folder, f"latency-{rows}", waits, row_group=BATCH)
    return Contender(
        name=_name(workers),
        call="benchmarks.loaders.ours:run",
        arguments={
            "data": str(data),
            "work": f"{wait.__module__}:{wait.__name__}",
            "batch": BATCH,
            "key": KEY,
            "until": _UNTIL,
            "whole_pool": True,
            "shuffle": {"type": "window", "rows": BATCH},
            "scaling": {"preprocessing": {"workers": workers, "cpus": 0.1}},
        },
    )
