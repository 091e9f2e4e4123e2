"""What the driver does about nodes that come and go; the nodes are plain values."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from orchestrator.checkpoint.attempts import Attempt
from orchestrator.errors import JobFailedError
from orchestrator.jsonl import JsonLinesWriter, JsonObject, read_json_lines
from orchestrator.plan.job import JobPlan
from orchestrator.plan.placement import Node
from orchestrator.run.attempt_scaling import AttemptScaling, RescaleError
from orchestrator.run.directory import RunDirectory
from orchestrator.run.failure import Failure
from orchestrator.run.nodes import NodeState, capacity_of_states, nodes_of
from orchestrator.run.scaling import SETTLE_S, Scaler
from orchestrator.train.stop import STOP_FILE
from tests.support.plans import make_plan, make_spec


def node(name: str, total: float, free: float = 0.0, deadline: float | None = None) -> NodeState:
    return NodeState(
        id=name * 8,
        address=f"10.0.0.{name}",
        port=1,
        total=Node(cpus=total, gpus=0),
        free=Node(cpus=free, gpus=0),
        deadline=deadline,
    )


class Cluster:
    """A run on a cluster that a test changes."""

    def __init__(self, folder: Path, events: JsonLinesWriter) -> None:
        self.directory = RunDirectory(path=folder)
        self.nodes = [node("1", 4, free=4)]
        self.hosts: Mapping[str, int] = {}
        self.gone: set[str] = set()
        self.now = 100.0
        self.slept = 0.0
        self.attempts = 0
        self.scaler = Scaler(
            self.directory,
            events,
            look=lambda: self.nodes,
            reach=lambda node: node.id not in self.gone,
            hosts=lambda: self.hosts,
            own=lambda: "1" * 8,
            places=lambda _: {"training": {"1" * 8: 1}, "preprocessing": {}, "labels": {}},
            clock=lambda: self.now,
            sleep=self._sleep,
        )
        spec = make_spec(
            scaling={
                "workers": {"min": 1, "max": 4},
                "grow_after": 10,
                "preprocessing": {"workers": 1},
            }
        )
        self.plan = make_plan(spec, capacity=capacity_of_states([node("1", 9)], free=False))

    def _sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds

    def sized(self) -> int:
        self.plan = self.scaler.sized(self.plan, check=lambda: None)
        return self.plan.workers

    def begin(self, plan: JobPlan | None = None) -> tuple[Attempt, AttemptScaling]:
        """Begins an attempt, whose training has not begun."""
        self.attempts += 1
        plan = plan or self.plan
        attempt = Attempt(
            number=self.attempts,
            parent=None,
            step=0,
            checkpoint=None,
            checkpoint_digest=None,
            workers=plan.workers,
            driver=1,
            reason="started",
            host="here",
            pid=1,
            started_at=1.0,
        )
        self.directory.attempts.begin(attempt)
        watch = self.scaler.watch(plan, attempt)
        assert watch is not None
        return attempt, watch

    def look(self, watch: AttemptScaling, *, seconds: float) -> None:
        """Lets time pass, with a look each second."""
        for _ in range(round(seconds)):
            self.now += 1.0
            watch.check()

    def told(self, event: str) -> list[JsonObject]:
        events = read_json_lines(self.directory.events)
        return [each for each in events if each["event"] == event]

    def request(self) -> str | None:
        file = self.directory.path / STOP_FILE
        return file.read_text() if file.exists() else None


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with JsonLinesWriter(tmp_path / "events.jsonl") as events:
        yield Cluster(tmp_path, events)


def started(at: float, step: int = 0) -> JsonObject:
    return {"event": "training-started", "time": at, "step": step}


def test_an_attempt_has_as_many_workers_as_what_is_free_has_room_for(cluster: Cluster) -> None:
    assert cluster.sized() == 2
    cluster.nodes += [node("2", 2, free=2)]
    assert (cluster.sized(), cluster.slept) == (4, 0)


def test_places_that_an_attempt_has_just_left_are_waited_for(cluster: Cluster) -> None:
    cluster.nodes = [node("1", 4, free=3)]
    assert cluster.sized() == 1
    # Others hold them.
    assert cluster.slept == pytest.approx(SETTLE_S, abs=0.5)


def test_nodes_that_go_or_do_not_answer_have_no_room_but_the_fewest_wait(cluster: Cluster) -> None:
    cluster.nodes = [node("1", 4, free=4), node("2", 2, free=2, deadline=0.0)]
    assert cluster.sized() == 2
    cluster.nodes = [node("1", 4, free=4), node("2", 2, free=2)]
    cluster.gone = {"2" * 8}
    assert cluster.sized() == 2
    cluster.gone = {"1" * 8, "2" * 8}
    assert cluster.sized() == 1


def test_a_node_that_comes_ends_the_attempt_at_a_checkpoint_and_costs_no_budget(
    cluster: Cluster,
) -> None:
    cluster.sized()
    attempt, watch = cluster.begin()
    watch.took(started(1.0))
    cluster.nodes = [node("1", 4, free=0), node("2", 2, free=2)]
    cluster.look(watch, seconds=9)
    assert cluster.request() is None
    cluster.look(watch, seconds=5)
    assert cluster.request() == str(attempt.number)
    assert cluster.scaler.asked
    watch.took({"event": "stopped", "time": 20.0, "step": 7})
    assert cluster.scaler.after_stop(attempt, "stopped") is None
    cluster.nodes = [node("1", 4, free=4), node("2", 2, free=2)]
    assert cluster.sized() == 4
    _, watch = cluster.begin()
    watch.took(started(25.5, step=7))
    (grown,) = cluster.told("grown")
    assert {key: grown[key] for key in ("from", "to", "why", "step", "steps_lost")} == {
        "from": 2,
        "to": 4,
        "why": "the cluster has room for 4 workers",
        "step": 7,
        "steps_lost": 0,
    }
    assert grown["seconds_down"] == 5.5


def test_room_that_others_hold_is_no_reason_to_stop(cluster: Cluster) -> None:
    cluster.sized()
    _, watch = cluster.begin()
    watch.took(started(1.0))
    cluster.nodes = [node("1", 4, free=0), node("2", 2, free=0.5), node("3", 9, free=9)]
    cluster.gone = {"3" * 8}  # Ray does not know yet.
    cluster.look(watch, seconds=60)
    assert cluster.request() is None


def test_after_a_lost_node_the_next_attempt_is_told_to_have_shrunk(cluster: Cluster) -> None:
    cluster.nodes = [node("1", 4, free=4), node("2", 2, free=2)]
    cluster.sized()
    attempt, watch = cluster.begin()
    watch.took(started(1.0))
    cluster.look(watch, seconds=1)
    cluster.gone = {"2" * 8}
    lost = Failure(reason="worker 1 died", step=0, died=True, kind="node")
    assert cluster.scaler.failed(lost, attempt) == lost
    assert cluster.sized() == 2
    _, watch = cluster.begin()
    watch.took(started(2e9))
    (shrunk,) = cluster.told("shrunk")
    assert (shrunk["from"], shrunk["to"]) == (4, 2)
    assert shrunk["why"] == "worker 1 died"


def test_workers_that_will_not_get_their_places_are_not_waited_for(cluster: Cluster) -> None:
    cluster.nodes = [node("1", 4, free=4), node("2", 2, free=2)]
    assert cluster.sized() == 4
    _, watch = cluster.begin()
    cluster.nodes = [node("1", 4, free=4)]
    cluster.look(watch, seconds=2)
    with pytest.raises(RescaleError, match="no room for 4 workers any more"):
        cluster.look(watch, seconds=2)
    assert cluster.sized() == 2


def test_workers_that_others_keep_from_their_places_become_fewer_one_by_one(
    cluster: Cluster,
) -> None:
    cluster.nodes = [node("1", 6, free=6)]
    for workers in (4, 3, 2):
        assert cluster.sized() == workers
        _, watch = cluster.begin()
        watch.starved()
        with pytest.raises(RescaleError):
            cluster.look(watch, seconds=5)
    assert cluster.sized() == 1
    _, watch = cluster.begin()
    watch.starved()
    # The fewest wait, as long as failure.starvation_timeout says.
    cluster.look(watch, seconds=60)


def test_a_node_that_is_taken_away_is_told_and_left_at_a_checkpoint(cluster: Cluster) -> None:
    cluster.nodes = [node("1", 4, free=4), node("2", 2, free=2)]
    cluster.sized()
    attempt, watch = cluster.begin()
    watch.took(started(1.0))
    cluster.nodes = [node("1", 4), node("2", 2, deadline=4e9)]
    cluster.hosts = {"1" * 8: 2}
    cluster.look(watch, seconds=3)
    assert cluster.request() is None  # it has none of the workers
    cluster.hosts = {"1" * 8: 2, "2" * 8: 2}
    cluster.look(watch, seconds=3)
    assert cluster.request() == str(attempt.number)
    (notice,) = cluster.told("preemption-notice")
    assert (notice["node"], notice["deadline"], notice["workers"]) == ("2" * 8, 4e9, 2)
    failure = cluster.scaler.after_stop(attempt, "stopped")
    assert failure is not None
    assert (failure.kind, failure.signature) == ("preemption", None)
    assert "node 10.0.0.2 (22222222), which has 2 of the workers, is taken away" in failure.reason
    # Told of once: if the next workers are there again, there is no other place for them.
    _, watch = cluster.begin()
    watch.took(started(1.0))
    cluster.look(watch, seconds=3)
    assert watch.stop is None


def test_a_node_that_goes_before_the_checkpoint_was_preempted_all_the_same(
    cluster: Cluster,
) -> None:
    attempt, watch = cluster.begin()
    watch.took(started(1.0))
    cluster.nodes = [node("1", 4), node("2", 2, deadline=0.0)]
    cluster.hosts = {"2" * 8: 1}
    cluster.look(watch, seconds=2)
    for died, kind in ((True, "preemption"), (False, "worker")):
        failure = Failure(reason="worker 1 ended", step=0, died=died, kind="worker")
        assert cluster.scaler.failed(failure, attempt).kind == kind


def test_the_driver_cannot_leave_its_own_node(cluster: Cluster) -> None:
    attempt, watch = cluster.begin()
    watch.took(started(1.0))
    cluster.nodes = [node("1", 4, deadline=0.0)]
    cluster.hosts = {"1" * 8: 1}
    cluster.look(watch, seconds=2)
    with pytest.raises(JobFailedError, match="and the driver runs on it"):
        cluster.scaler.after_stop(attempt, "stopped")


def test_a_fixed_number_of_workers_neither_grows_nor_shrinks(cluster: Cluster) -> None:
    spec = make_spec(scaling={"workers": 2})
    plan = make_plan(spec, capacity=capacity_of_states([node("1", 9)], free=False))
    cluster.nodes = [node("1", 2), node("2", 64, free=64)]
    assert cluster.scaler.sized(plan, check=lambda: None) is plan
    _, watch = cluster.begin(plan)
    cluster.look(watch, seconds=9)
    watch.took(started(1.0))
    cluster.look(watch, seconds=300)
    assert cluster.request() is None


def test_what_ray_says_of_nodes() -> None:
    of_ray = [
        {
            "NodeID": name,
            "Alive": name != "c",
            "NodeManagerAddress": "10.0.0.1",
            "NodeManagerPort": 7,
            "Resources": {"CPU": 4.0, "memory": 9.0},
        }
        for name in "abc"
    ]
    first, second = nodes_of(of_ray, {"a": {"CPU": 1.5}}, {"b": 2500})
    assert (first.total.cpus, first.free.cpus, first.stays) == (4, 1.5, True)
    assert (second.free.cpus, second.deadline, second.stays) == (0, 2.5, False)
    capacity = capacity_of_states([first, second], free=False)
    assert (capacity.cpus, len(capacity.nodes)) == (4, 1)
