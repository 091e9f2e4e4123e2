"""Workers without a place: what is said of them, when, and for how long they are waited for."""

import pytest

from orchestrator.errors import ClusterError
from orchestrator.run.starvation import StarvationWatch, Waiting, describe_shortage


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Cluster:
    """A cluster whose shortage a test sets, looked at through a watch."""

    def __init__(self, *, limit_s: float = 60.0) -> None:
        self.clock = Clock()
        self.shortage: str | None = None
        self.looks = 0
        self.told: list[str] = []
        self.watch = StarvationWatch(
            self._look, self.told.append, limit_s=limit_s, clock=self.clock
        )

    def _look(self) -> str | None:
        self.looks += 1
        return self.shortage

    def run(self, seconds: int) -> None:
        for _ in range(5 * seconds):
            self.watch.check()
            self.clock.now += 0.2


def test_a_shortage_is_told_once_and_within_seconds() -> None:
    cluster = Cluster()
    cluster.shortage = "no place"
    cluster.run(4)
    assert cluster.told == []
    cluster.run(3)
    assert cluster.told == ["no place"]
    cluster.run(20)
    assert cluster.told == ["no place"]


def test_a_shortage_that_lasts_ends_the_run_with_its_cause() -> None:
    cluster = Cluster(limit_s=30.0)
    cluster.shortage = "no place for 2 workers"
    with pytest.raises(ClusterError, match="no place for 2 workers, for 30"):
        cluster.run(40)
    assert cluster.clock.now == pytest.approx(130.0, abs=1.5)


def test_a_shortage_that_ends_is_forgotten() -> None:
    cluster = Cluster(limit_s=30.0)
    for _ in range(4):
        cluster.shortage = "no place"
        cluster.run(20)
        cluster.shortage = None
        cluster.run(2)
    assert cluster.told == ["no place"] * 4


def test_the_cluster_is_asked_once_a_second_at_most() -> None:
    cluster = Cluster()
    cluster.run(10)
    assert 9 <= cluster.looks <= 11


def workers(count: int = 2, *, cpus: float = 1, gpus: float = 0, together: bool = False) -> Waiting:
    return Waiting(what="workers", count=count, cpus=cpus, gpus=gpus, together=together)


def test_what_waits_without_a_place_is_named_with_what_is_free() -> None:
    text = describe_shortage([workers(cpus=2)], [{"CPU": 1.0}, {"CPU": 0.5}], {"CPU": 8.0})
    assert text == (
        "no place in the cluster for 2 workers (2 CPUs each): 1.5 of 8 CPUs on 2 nodes are free"
    )


def test_gpus_are_named_where_they_are_asked_for() -> None:
    text = describe_shortage([workers(1, gpus=1)], [{"CPU": 4.0}], {"CPU": 8.0, "GPU": 1.0})
    assert text == (
        "no place in the cluster for 1 workers (1 CPU and 1 GPU each):"
        " 4 of 8 CPUs, 0 of 1 GPUs are free"
    )


def test_whatever_has_a_place_and_only_starts_is_no_shortage() -> None:
    assert describe_shortage([workers()], [{"CPU": 0.0}, {"CPU": 1.0}], {"CPU": 2.0}) is None
    assert describe_shortage([], [{}], {}) is None


def test_a_group_that_ray_cannot_place_is_a_shortage_though_one_of_it_would_fit() -> None:
    text = describe_shortage([workers(together=True)], [{"CPU": 1.0}], {"CPU": 4.0})
    assert text is not None
    assert "1 of 4 CPUs are free" in text


def test_ten_thousandths_lost_in_sums_do_not_make_a_shortage() -> None:
    free = [{"CPU": 0.1 + 0.2 - 0.3 + 0.9999999}]
    assert describe_shortage([workers(1)], free, {"CPU": 1.0}) is None
