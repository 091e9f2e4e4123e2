"""What Ray's own parts cost: blocks through one coordinator, window numbers, records to a rank.

Consumers are threads in several processes: what they ask for at a time is what the coordinator
sees, and a thousand processes would only measure this machine.
"""

import threading
import time
from collections.abc import Iterator, Sequence

import pyarrow as pa
import ray
import ray.data
from ray.data import DataIterator

from benchmarks.scale.line import READERS, WORKERS, Line, seconds
from orchestrator.data.pipeline import stream_context
from orchestrator.data.window_numbers import number_windows
from orchestrator.plan.stages import Stage
from orchestrator.plan.tuning import LEAST_PREFETCHED

_BLOCKS = 4_000
_CONSUMERS = (1, 8, 64)
# Consumers that share a process.
_TOGETHER = 32
_CALLS = 5_000
_STAGE = Stage(transforms=(), positions=(), cpus=1, gpus=0, workers=(2, 2), tasks_in_flight=6)


def engine_lines(*, blocks: int = _BLOCKS) -> Iterator[Line]:
    """Figures of a Ray that is running."""
    yield _bare_line()
    for consumers in _CONSUMERS:
        each = hand_off_s(consumers, blocks)
        yield Line(
            what=f"a block through the coordinator, {consumers} consumers",
            measured=f"{seconds(each)}, {1 / each:,.0f} blocks/s",
            at_scale=f"{seconds(each * WORKERS)} a superblock",
        )
    for windows in (2_000, 20_000):
        spent = numbering_s(windows)
        yield Line(
            what=f"making and passing on the numbers of {windows:,} windows",
            measured=f"{seconds(spent)}, {windows / spent:,.0f} windows/s",
            at_scale=f"{seconds(spent / windows * 10**6)} for a million;"
            f" {READERS / (windows / spent):,.1f} s between two windows of a reader",
        )


class _Bare:
    """An actor that does nothing, asked as a coordinator is."""

    @ray.method
    def get(self, number: int) -> int:
        return number


def _bare_line() -> Line:
    """What any single actor can answer: the most that a coordinator could."""
    actor = ray.remote(num_cpus=0)(_Bare).remote()
    ray.get(actor.get.remote(0))
    began = time.perf_counter()
    ray.get([actor.get.remote(number) for number in range(_CALLS)])
    each = (time.perf_counter() - began) / _CALLS
    return Line(
        what="a call of an actor that does nothing",
        measured=f"{seconds(each)}, {1 / each:,.0f} calls/s",
        at_scale=f"{seconds(each * WORKERS)} for all ranks",
    )


def hand_off_s(consumers: int, blocks: int) -> float:
    """Seconds a block, through a coordinator to so many consumers that take them all."""
    per_consumer = max(4, blocks // consumers)
    total = per_consumer * consumers
    table = pa.table({"x": [0]})
    tables = [ray.put(table) for _ in range(min(total, 500))]
    references = [tables[number % len(tables)] for number in range(total)]
    with stream_context([_STAGE]):
        dataset = ray.data.from_arrow_refs(references)  # type: ignore[arg-type]  # a type of Ray's
        shards = dataset.streaming_split(consumers, equal=False)
    groups = [shards[start : start + _TOGETHER] for start in range(0, consumers, _TOGETHER)]
    taker = ray.remote(num_cpus=0)(_Taker)
    takers = [taker.remote(group) for group in groups]
    spans: list[tuple[int, float, float]] = ray.get([each.take.remote() for each in takers])
    seen = sum(count for count, _, _ in spans)
    if seen != total:
        raise ValueError(f"{seen:,} blocks came, wanted {total:,}")
    # All clocks are those of one machine. The first block waits for the stream to start.
    began = min(first for _, first, _ in spans)
    return (max(last for _, _, last in spans) - began) / total


class _Taker:
    """Some consumers in one process, a thread each."""

    def __init__(self, shards: Sequence[DataIterator]) -> None:
        self._shards = shards
        self._seen: list[tuple[int, float, float]] = []

    @ray.method
    def take(self) -> tuple[int, float, float]:
        """The blocks taken, when the first one came, and when the last one did."""
        threads = [threading.Thread(target=self._drain, args=(shard,)) for shard in self._shards]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        counts, firsts, lasts = zip(*self._seen, strict=True)
        return sum(counts), min(firsts), max(lasts)

    def _drain(self, shard: DataIterator) -> None:
        first, count = 0.0, 0
        for _ in _blocks(shard):
            first = first or time.time()
            count += 1
        self._seen.append((count, first, time.time()))


def numbering_s(windows: int) -> float:
    """Seconds until all numbers of windows have come out, one a block, with nothing behind them."""
    with stream_context([_STAGE]):
        dataset = number_windows(windows, readers=2)
        (shard,) = dataset.streaming_split(1, equal=False)
    began = time.perf_counter()
    seen = sum(block.num_rows for block in _blocks(shard))
    if seen != windows:
        raise ValueError(f"{seen:,} numbers came, wanted {windows:,}")
    return time.perf_counter() - began


def _blocks(shard: DataIterator) -> Iterator[pa.Table]:
    # None is a block as it is, which Ray's types do not know.
    yield from shard.iter_batches(
        batch_size=None,  # type: ignore[arg-type] # Ray's hint
        batch_format="pyarrow",
        prefetch_batches=LEAST_PREFETCHED,
    )
