"""One run on a cluster, under faults of every kind at random moments, for as long as is asked.

The kinds come in rounds, each round in an order of its own, so that none is left out for long. A
fault waits until the run trains again after the one before it, and then for a random moment; but a
driver is also killed while it starts.
"""

import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from orchestrator.jsonl import read_json_lines
from tests.support.clusters import LocalCluster
from tests.support.faults import (
    MAP_WORKER,
    RANK,
    Killed,
    kill_coordinator,
    kill_driver,
    kill_map_worker,
    kill_node,
    kill_rank,
)
from tests.support.runs import Driver, Run
from tests.support.usage import Usage

# A node has room for all that the run has with the most workers, the head for none of it.
NODE_CPUS, NUMBERS_OF_WORKERS = 6, (1, 2, 3)
# What a run may take to train again after a fault, on a slow machine.
_BACK_LIMIT_S = 150.0
_LONGEST_PAUSE_S, _START_S, _POLL_S = 5.0, 8.0, 0.2
# Enough of the newest records to find the last one.
_TAIL_BYTES = 4096


class Onslaught:
    """Starts drivers, and does harm to them and to all that belongs to them.

    Args:
        settings: of every driver; the number of workers comes on top.
        say: told what happens, a line each.

    Attributes:
        driver: the one of the moment.
        fired: how many faults of each kind there were.
        ended: how many of them must have ended an attempt.
        back_s: seconds from each fault that ended an attempt to a step of the next, by kind.
    """

    def __init__(
        self,
        run: Run,
        cluster: LocalCluster,
        usage: Usage,
        *,
        rng: random.Random,
        settings: Sequence[str],
        say: Callable[[str], None],
    ) -> None:
        self._run = run
        self._cluster = cluster
        self._usage = usage
        self._rng = rng
        self._settings = settings
        self._say = say
        self._workers = max(NUMBERS_OF_WORKERS)
        self._faults: dict[str, Callable[[], bool]] = {
            "rank": self._rank,
            "map actor": self._map_worker,
            "coordinator": self._coordinator,
            "node": self._node,
            "driver": self._driver,
            "starting driver": self._starting_driver,
            "workers": self._other_workers,
        }
        self.driver = self._start()
        self.fired: Counter[str] = Counter()
        self.ended = 0
        self.back_s: dict[str, list[float]] = defaultdict(list)

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(self._faults)

    def rage(self, until: float) -> None:
        """Does harm until then, on the monotonic clock, and until each kind was there once."""
        self._wait_for("the first step", lambda: self._newest() > (0, 0))
        waiting: list[str] = []
        while time.monotonic() < until or len(self.fired) < len(self._faults):
            waiting = waiting or self._rng.sample(self.kinds, k=len(self.kinds))
            self._one(waiting.pop())

    def leave_alone(self, limit_s: float) -> str:
        """Waits for the end of the run, and returns what its last driver printed."""
        deadline = time.monotonic() + limit_s
        while self.driver.process.poll() is None:
            assert time.monotonic() < deadline, f"no end in {limit_s} s, at {self._newest()}"
            self._look()
        return self.driver.finish()

    def _one(self, kind: str) -> None:
        self._pause(self._rng.uniform(0.0, _LONGEST_PAUSE_S))
        attempt, step = self._newest()
        began = time.monotonic()
        ends = self._faults[kind]()
        self.fired[kind] += 1
        self.ended += ends

        def back() -> bool:
            now = self._newest()
            # Steps in hand may be made after what feeds them has died.
            return now[0] > attempt or (not ends and now[1] >= step + 3)

        self._wait_for(f"a step after the fault {kind} at step {step} of {attempt}", back)
        if ends:
            self.back_s[kind].append(time.monotonic() - began)

    def _rank(self) -> bool:
        self._tell(kill_rank(self._cluster.folder))
        return True

    def _map_worker(self) -> bool:
        self._tell(kill_map_worker(self._cluster.folder))
        return False

    def _coordinator(self) -> bool:
        self._tell(kill_coordinator(self._cluster.folder))
        return True

    def _node(self) -> bool:
        killed = kill_node(self._cluster, hosting=self._rng.choice((RANK, MAP_WORKER)))
        self._tell(killed)
        self._cluster.raylets.remove(next(iter(killed.processes)))
        self._pause(self._rng.uniform(0.0, _LONGEST_PAUSE_S))
        self._cluster.add_node(NODE_CPUS)
        return any(RANK in title for title in killed.processes.values())

    def _driver(self) -> bool:
        self._tell(kill_driver(self.driver))
        self.driver = self._start()
        return True

    def _starting_driver(self) -> bool:
        self._driver()
        self._pause(self._rng.uniform(0.0, _START_S))
        return self._driver()

    def _other_workers(self) -> bool:
        self.driver.signal_group(signal.SIGINT)
        self.driver.finish(code=130)
        others = [number for number in NUMBERS_OF_WORKERS if number != self._workers]
        self._workers = self._rng.choice(others)
        self._say(f"{self._where()}: interrupted, and on with {self._workers} workers")
        self.driver = self._start()
        return True

    def _start(self) -> Driver:
        return self._run.start(*self._settings, f"scaling.workers={self._workers}")

    def _newest(self) -> tuple[int, int]:
        """Attempt and step of the newest record, zeros where there is none."""
        lines = read_json_lines(self._run.dir / "metrics.jsonl", last_bytes=_TAIL_BYTES)
        records = [line for line in lines if line["kind"] == "train"]
        return (
            (int(str(records[-1]["attempt"])), int(str(records[-1]["step"]))) if records else (0, 0)
        )

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        self._wait_for("a moment", lambda: time.monotonic() >= until)

    def _wait_for(self, what: str, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _BACK_LIMIT_S
        while not condition():
            if self.driver.process.poll() is not None:
                # With what it printed, in the error.
                self.driver.finish(code=-1)
            assert time.monotonic() < deadline, f"no {what} in {_BACK_LIMIT_S} s"
            self._look()

    def _look(self) -> None:
        self._usage.sample(self.driver.process.pid)
        time.sleep(_POLL_S)

    def _tell(self, killed: Killed) -> None:
        self._say(f"{self._where()}: killed {killed}")

    def _where(self) -> str:
        attempt, step = self._newest()
        return f"step {step} of attempt {attempt}"
