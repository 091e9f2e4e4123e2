"""What lies in Ray's object store while a benchmark runs, as Ray's own node counts it."""

import threading
from types import TracebackType

import ray
from ray._private.internal_api import get_memory_info_reply, get_state_from_address

_EVERY_S = 0.02


class StoreWatch:
    """Looks at the store all the time, in a thread, from entering to leaving it.

    Attributes:
        peak_bytes: the most that was in it at a time.
        spilled_bytes: what Ray wrote to disk because it was full, in all.
        looks: how often it was looked at.
    """

    def __init__(self) -> None:
        self.peak_bytes = self.spilled_bytes = self.looks = 0
        self._state = get_state_from_address(ray.get_runtime_context().gcs_address)  # type: ignore[no-untyped-call]
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "StoreWatch":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._end.wait(_EVERY_S):
            self._look()

    def _look(self) -> None:
        stats = get_memory_info_reply(self._state).store_stats  # type: ignore[no-untyped-call]
        # What does not fit goes to a file beside the store: it counts as if it were in it.
        used = stats.object_store_bytes_used + stats.object_store_bytes_fallback
        self.peak_bytes = max(self.peak_bytes, used)
        self.spilled_bytes = stats.spilled_bytes_total
        self.looks += 1
