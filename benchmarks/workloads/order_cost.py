"""What strict order costs where no window takes longer than another."""

import numpy as np

from benchmarks.harness.outcome import Outcome, Settings, at_least, figure
from benchmarks.harness.repeat import Contender, run_rounds
from benchmarks.workloads.skew import BATCH, BATCH_S, SLOTS, ours_arguments
from benchmarks.workloads.tabular_work import KEY, preprocess, write_data
from benchmarks.workloads.waiting_work import write_waits

NAME = "order_cost"
TITLE = "Strict against relaxed order, on even work"
_ORDERS = ("strict", "relaxed")
_TARGET = 0.97
_EVEN_BATCHES = 600


def run(settings: Settings) -> Outcome:
    """Rows a second in both orders: of work on the cores, and of waits, which need none."""
    kinds = {"tabular": _tabular(settings)}
    if not settings.quick:
        kinds["waits"] = _waits(settings)
    found = run_rounds(
        [
            Contender(
                name=f"{kind}, {order}",
                call="benchmarks.loaders.ours:run",
                arguments={**arguments, "order": order},
            )
            for kind, arguments in kinds.items()
            for order in _ORDERS
        ],
        rounds=1 if settings.quick else settings.rounds,
    )
    rates = {
        (kind, order): found.series(f"{kind}, {order}", "rows_per_s")
        for kind in kinds
        for order in _ORDERS
    }
    return Outcome(
        name=NAME,
        title=TITLE,
        figures=[
            figure(f"{kind}, {order}", "rows/s", rate) for (kind, order), rate in rates.items()
        ],
        checks=[
            at_least(
                f"{kind}: strict over relaxed",
                rates[kind, "strict"].over(rates[kind, "relaxed"]),
                _TARGET,
            )
            for kind in kinds
        ],
        notes=[
            "Tabular: the work of the tabular workload, on the cores, to a consumer that takes no"
            f" time. Waits: {SLOTS} workers that wait {BATCH_S * 1e3:.0f} ms a batch of {BATCH}"
            " rows, and use no CPU.",
            "One training worker. With several, a relaxed stream goes through one more process,"
            " which shares out its superblocks, and strict order gains.",
        ],
    )


def _tabular(settings: Settings) -> dict[str, object]:
    # Many windows, and of even work: with a few, the order of the last ones decides.
    rows = 1 << (19 if settings.quick else 21)
    return {
        "data": str(write_data(settings.folder, rows=rows)),
        "work": f"{preprocess.__module__}:{preprocess.__name__}",
        "batch": 1024,
        "key": KEY,
        "epochs": 12,
    }


def _waits(settings: Settings) -> dict[str, object]:
    even = np.full(_EVEN_BATCHES * BATCH, BATCH_S / BATCH)
    data = write_waits(settings.folder, f"even-{_EVEN_BATCHES}-{BATCH_S}", even, row_group=BATCH)
    return ours_arguments(data, order="strict")
