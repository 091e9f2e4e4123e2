"""When more training workers are worth a stop: a decision about plain values."""

# Nodes often come several at a time, a moment apart: one stop is to serve for all of them.
STEADY_S = 2.0


class Growth:
    """Whether an attempt is to be stopped for more workers.

    Args:
        workers: how many it has.
        after_s: seconds that it trains at least; so often, and no more, a run is stopped.
    """

    def __init__(self, workers: int, *, after_s: float) -> None:
        self._workers = workers
        self._after_s = after_s
        self._trains_since: float | None = None
        self._seen: int | None = None
        self._seen_since = 0.0

    def began(self, now: float) -> None:
        """Takes notice that its training has begun."""
        self._trains_since = now

    def ripe(self, now: float) -> bool:
        """Whether it has trained for long enough."""
        return self._trains_since is not None and now - self._trains_since >= self._after_s

    def wanted(self, possible: int, now: float) -> bool:
        """Whether to stop it now.

        Args:
            possible: how many workers there is room for.
        """
        if possible <= self._workers or not self.ripe(now):
            self._seen = None
            return False
        if possible != self._seen:
            self._seen, self._seen_since = possible, now
        return now - self._seen_since >= STEADY_S
