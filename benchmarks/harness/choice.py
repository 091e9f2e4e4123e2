"""The best of several settings of a contender, found by trying each once."""

from collections.abc import Sequence

from benchmarks.harness.repeat import Contender, run_once


def best_of(tried: Sequence[Contender]) -> Contender:
    """The one that brought most rows a second; they differ in `workers`."""
    rates = []
    for contender in tried:
        rates.append(run_once(contender)["rows_per_s"])
        workers = contender.arguments["workers"]
        print(
            f"  tried {contender.name} with workers={workers}: {rates[-1]:,.0f} rows/s", flush=True
        )
    return tried[rates.index(max(rates))]
