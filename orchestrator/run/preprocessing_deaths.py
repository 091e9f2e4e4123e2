"""Preprocessing workers that died and that Ray has replaced: told, and charged to their budget."""

import time
from collections import Counter
from collections.abc import Callable, Sequence

from orchestrator.data.pools import PoolWorker, pool_workers
from orchestrator.errors import JobFailedError
from orchestrator.jsonl import JsonLinesWriter
from orchestrator.run.budgets import Account, read_account, write_account
from orchestrator.run.cost import saved_steps
from orchestrator.run.directory import RunDirectory
from orchestrator.spec.failure import FailureSpec
from orchestrator.units import format_count

# Ray counts the deaths: none is missed between two looks.
LOOK_EVERY_S = 1.0


class PreprocessingDeaths:
    """Watches the workers of all attempts of a driver; training goes on meanwhile.

    What is charged is how often the worst of the workers has died since the newest checkpoint. That
    many die together, with their node, says nothing of the run; that the same one dies again does.

    Args:
        look: asks Ray for the workers of this job, those that have ended too.
    """

    def __init__(
        self,
        spec: FailureSpec,
        directory: RunDirectory,
        events: JsonLinesWriter,
        *,
        look: Callable[[], list[PoolWorker]] = pool_workers,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._budget = spec.budget("preprocessing")
        self._directory = directory
        self._events = events
        self._look = look
        self._clock = clock
        self._looked_at = -LOOK_EVERY_S
        self._seen: dict[str, PoolWorker] = {}
        self._step = 0
        self._deaths: Counter[str] = Counter()
        self._charged = 0

    def check(self, attempt: int) -> None:
        """Called several times a second.

        Raises:
            JobFailedError: the budget is used up.
        """
        if self._clock() - self._looked_at < LOOK_EVERY_S:
            return
        account = self.note(attempt)
        if account is None or not account.overdrawn("preprocessing", self._budget):
            return
        worst = max(self._deaths.values())
        often = "once" if worst == 1 else f"{format_count(worst)} times"
        raise JobFailedError(
            f"training failed: failure.preprocessing_restarts ({format_count(self._budget)}) is"
            f" used up: a preprocessing worker died {often} without a newer checkpoint",
            hint="compiled code of a transform may crash or take too much memory; the workers' last"
            f" words are in {self._directory.logs}",
        )

    def note(self, attempt: int) -> Account | None:
        """Writes down and charges what has died since the last look; None where nothing has."""
        self._looked_at = self._clock()
        died = self._new_deaths()
        if not died:
            return None
        for pool in sorted({worker.pool for worker, _ in died}):
            of_pool = [(worker, deaths) for worker, deaths in died if worker.pool == pool]
            self._events.write(
                {
                    "time": time.time(),
                    "event": "preprocessing-death",
                    "attempt": attempt,
                    "class": "preprocessing",
                    "deaths": sum(deaths for _, deaths in of_pool),
                    "pool": pool,
                    "nodes": [*sorted({worker.node for worker, _ in of_pool if worker.node})],
                }
            )
        return self._charge(died)

    def _new_deaths(self) -> list[tuple[PoolWorker, int]]:
        """The workers as they were before, and how often each has died since."""
        died = []
        for worker in self._look():
            before = self._seen.get(worker.number)
            self._seen[worker.number] = worker
            # Ray may start one again that had ended in peace, for blocks that were lost elsewhere.
            if before is not None and before.state == "DEAD":
                continue
            deaths = worker.restarts - (before.restarts if before else 0)
            if deaths > 0:
                # Where it is started again it is on no node, or on another one.
                died.append((before or worker, deaths))
        return died

    def _charge(self, died: Sequence[tuple[PoolWorker, int]]) -> Account:
        step = saved_steps(self._directory)
        if step > self._step:
            self._step, self._charged = step, 0
            self._deaths.clear()
        self._deaths.update({worker.number: deaths for worker, deaths in died})
        account = read_account(self._directory.path)
        worst = max(self._deaths.values())
        for _ in range(worst - self._charged):
            account = account.charged("preprocessing", step=step, last=account.last)
        self._charged = worst
        write_account(account, self._directory.path)
        return account
