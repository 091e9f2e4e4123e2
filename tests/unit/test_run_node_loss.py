"""Which deaths a lost node explains; Ray is not started."""

import socket
from collections.abc import Collection, Sequence

import pytest

from orchestrator.errors import DataError, FailureClass
from orchestrator.plan.placement import Node
from orchestrator.run.failure import Failure
from orchestrator.run.node_loss import WAIT_S, NodeLosses, Sight
from orchestrator.run.nodes import NodeState, answers

NOTHING = Node(cpus=0, gpus=0)


def node(number: str, address: str, port: int = 1) -> NodeState:
    return NodeState(id=number, address=address, port=port, total=NOTHING, free=NOTHING)


NODES = {
    number: node(number * 14, f"10.0.0.{place}") for place, number in enumerate("abc", start=1)
}
A, B, C = NODES.values()
# Of an attempt before, which has left nothing but its entries.
EARLIER = {"controller-1": A.id, "worker-1": C.id}
ACTORS = {**EARLIER, "controller-2": A.id, "worker-2": B.id}


def sight(nodes: Collection[NodeState], actors: dict[str, str] | None = None) -> Sight:
    return Sight(nodes={n.id: n for n in nodes}, actors=ACTORS if actors is None else actors)


class Cluster:
    """What a cluster shows, look by look; time passes only where it is waited."""

    def __init__(self, *looks: Sight, silent: Collection[NodeState] = ()) -> None:
        self._looks = list(looks)
        self.waited = 0.0
        self.losses = NodeLosses(
            self._look,
            lambda node: node not in silent,
            clock=lambda: self.waited,
            pause=self._pause,
        )
        self.losses.begin()

    def _look(self) -> Sight:
        return self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]

    def _pause(self, seconds: float) -> None:
        self.waited += seconds


BEFORE = sight((A, B, C), EARLIER)


def death(kind: FailureClass = "worker") -> Failure:
    return Failure(reason="worker 1 died: killed", step=3, died=True, kind=kind)


@pytest.mark.parametrize("kind", ["worker", "preprocessing", "node"])
def test_a_death_by_the_loss_of_a_node_is_one_and_names_it(kind: FailureClass) -> None:
    cluster = Cluster(BEFORE, sight((A, C)))
    named = cluster.losses.named(death(kind))
    assert named.kind == "node"
    assert named.reason == "worker 1 died: killed (lost: node 10.0.0.2 (id bbbbbbbbbbbb))"
    assert cluster.waited == 0


def test_a_node_that_does_not_answer_is_waited_for_until_ray_knows_it_dead() -> None:
    alive = sight((A, B, C))
    cluster = Cluster(BEFORE, alive, alive, alive, sight((A, C)), silent=(B,))
    assert cluster.losses.named(death()).kind == "node"
    assert 0 < cluster.waited < 1


def test_the_wait_for_rays_word_has_an_end() -> None:
    cluster = Cluster(BEFORE, sight((A, B, C)), silent=(B,))
    assert "10.0.0.2" in cluster.losses.named(death()).reason
    assert cluster.waited == pytest.approx(WAIT_S, abs=0.5)


ALONE = sight((A,), {})


@pytest.mark.parametrize(
    ("looks", "failure"),
    [
        pytest.param([BEFORE, sight((A, B, C))], death(), id="all nodes are there"),
        pytest.param([BEFORE, sight((A, B))], death(), id="nothing of this attempt was on it"),
        pytest.param([BEFORE, sight((A, C))], death("preemption"), id="preempted"),
        pytest.param([BEFORE, sight((A, C))], Failure(reason="x", step=3), id="raised"),
        pytest.param(
            [BEFORE, sight((A, C))],
            Failure(reason="bad row", step=3, cause=DataError("bad row"), kind="bad_data"),
            id="ours",
        ),
        pytest.param([ALONE, sight((), {"worker-2": A.id})], death(), id="a single node"),
    ],
)
def test_a_failure_that_no_lost_node_explains_stays_as_it_is(
    looks: Sequence[Sight], failure: Failure
) -> None:
    cluster = Cluster(*looks)
    assert cluster.losses.named(failure) == failure
    assert cluster.waited == 0


def test_a_process_that_listens_answers_and_one_that_has_died_does_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        there = node("a", "127.0.0.1", server.getsockname()[1])
        assert answers(there)
    assert not answers(there)
