"""How many training workers a job takes, where its spec gives a range and the cluster decides."""

from collections.abc import Callable, Iterator, Sequence

from orchestrator.plan.placement import Bundle, Node, fit_together, largest_number
from orchestrator.spec.scaling import ScalingSpec
from orchestrator.units import format_count, format_duration


def workers_that_fit(scaling: ScalingSpec, fits: Callable[[int], bool]) -> int:
    """The most workers of the spec's range that fit; the fewest, where not even these do.

    Args:
        fits: whether so many fit beside everything else that the job runs.
    """
    least = scaling.least_workers
    return least + largest_number(lambda more: fits(least + more), scaling.most_workers - least)


def room_for(scaling: ScalingSpec, free: Sequence[Node], *, most: int) -> int:
    """How many more training workers, up to `most`, find room in what is free on each node."""

    def fits(workers: int) -> bool:
        bundle = Bundle(count=workers, cpus=scaling.cpus_per_worker, gpus=scaling.gpus_per_worker)
        return fit_together([bundle], free)

    return largest_number(fits, most)


def elastic_topic(scaling: ScalingSpec, workers: int) -> Iterator[tuple[str, str]]:
    """What a plan says of the range; nothing where the number of workers is fixed."""
    if not scaling.elastic:
        return
    low, high = format_count(scaling.least_workers), format_count(scaling.most_workers)
    room = f"the cluster has room for {format_count(workers)} now"
    if workers == scaling.most_workers:
        room = "the cluster has room for them"
    yield (
        "workers",
        f"{low} to {high}: {room}; more are taken, at a checkpoint, after"
        f" {format_duration(scaling.grow_after)} at the earliest",
    )
