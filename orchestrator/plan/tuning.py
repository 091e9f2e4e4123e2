"""What the spec leaves open, chosen from the cost of the first rows; none of it changes a batch."""

import math
from dataclasses import dataclass

from orchestrator.plan.geometry import StreamGeometry
from orchestrator.spec.scaling import PoolSpec, ScalingSpec

# Ray Data looks at its workers about ten times a second: what is queued at a worker, and what is
# fetched ahead of a step, has to last longer than from one look to the next.
_LOOK_S = 0.1
_LOOKS_AHEAD = 2
# A call that is queued at one worker cannot be taken by another that is free; and what all calls of
# a worker give may lie in the object store at once, waiting for its turn.
_IN_FLIGHT = (2, 8)
_IN_FLIGHT_BYTES = 128 << 20
# Blocks a training worker fetches ahead of the one in hand: one to go on with, one on its way.
LEAST_PREFETCHED, _MOST_PREFETCHED = 2, 8
_PREFETCHED_BYTES = 64 << 20
# Seconds for the transforms of a window, where they come before its order.
_FIRST_S = 1.0
# Workers that wait for storage most of their time share a core; but each is a process.
_LEAST_CPUS = 0.1
MOST_AUTO_WORKERS = 32
# Below, what looks like waiting may be a clock's step.
_BUSY = 0.75


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredCost:
    """What the first rows of a stream cost, measured in one process; means a row.

    `read_s` is for reading and ordering it, `work_s` for the transforms, in seconds without those
    spent in waiting for a core. `busy` is the part of them in which a core was at work; the rest
    was spent in waiting for storage, a service or a clock. `row_bytes` is its size as it leaves the
    transforms.
    """

    rows: int
    read_s: float
    work_s: float
    busy: float
    row_bytes: float

    @property
    def row_s(self) -> float:
        return self.read_s + self.work_s


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuning:
    """The settings of a pool: `cpus` of each worker, at which `tasks_in_flight` calls queue."""

    cpus: float
    tasks_in_flight: int


def tune_pool(pool: PoolSpec, cost: MeasuredCost | None, geometry: StreamGeometry) -> Tuning:
    """The settings of a pool: what the spec says, else what the cost suggests, else a default."""
    return Tuning(
        cpus=_cpus(cost) if pool.cpus == "auto" else pool.cpus,
        tasks_in_flight=(
            _in_flight(cost, geometry) if pool.tasks_in_flight == "auto" else pool.tasks_in_flight
        ),
    )


def prefetched(
    scaling: ScalingSpec, cost: MeasuredCost | None, geometry: StreamGeometry, readers: int
) -> int:
    """Blocks that a training worker fetches ahead: enough for a while, in bounded memory."""
    if scaling.prefetch_blocks != "auto":
        return scaling.prefetch_blocks
    low, high = LEAST_PREFETCHED, _MOST_PREFETCHED
    if cost is None:
        return low
    rows = min(geometry.superblock_steps * geometry.batch, geometry.rows)
    block_s = max(1e-6, cost.row_s * rows / max(1, readers))
    block_bytes = max(1.0, cost.row_bytes * rows / scaling.most_workers)
    wanted = math.ceil(_LOOKS_AHEAD * _LOOK_S / block_s)
    return max(low, min(high, wanted, int(_PREFETCHED_BYTES / block_bytes)))


def transform_first(cost: MeasuredCost | None, geometry: StreamGeometry, window_bytes: int) -> bool:
    """Whether to put rows in order after the transforms: what these give is then moved, once.

    That is cheaper where they make few columns of many. But all of a window is then transformed
    before any of it goes out, and held: only where that takes a moment and fits.

    Args:
        window_bytes: of the source, in a window of usual size.
    """
    if cost is None:
        return False
    rows = min(geometry.window_steps * geometry.batch, geometry.rows)
    return cost.work_s * rows <= _FIRST_S and cost.row_bytes * rows <= 2 * window_bytes


def most_auto_workers(pool: PoolSpec, tuning: Tuning, cores: int, memory_for: int) -> int:
    """The most workers of a pool whose number is left open: a core's worth of work for each core.

    Args:
        memory_for: how many of them the machine has memory for.
    """
    if pool.cpus != "auto" or tuning.cpus >= 1:
        return cores
    return max(cores, min(MOST_AUTO_WORKERS, int(cores / tuning.cpus), memory_for))


def _cpus(cost: MeasuredCost | None) -> float:
    if cost is None or cost.busy >= _BUSY:
        return 1.0
    return max(_LEAST_CPUS, math.ceil(cost.busy * 10) / 10)


def _in_flight(cost: MeasuredCost | None, geometry: StreamGeometry) -> int:
    low, high = _IN_FLIGHT
    if cost is None:
        return low
    rows = min(geometry.window_steps * geometry.batch, geometry.rows)
    wanted = 1 + math.ceil(_LOOKS_AHEAD * _LOOK_S / max(1e-6, cost.row_s * rows))
    in_memory = int(_IN_FLIGHT_BYTES / max(1.0, cost.row_bytes * rows))
    return max(low, min(high, wanted, in_memory))
