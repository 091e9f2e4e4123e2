"""What lies in Ray's object store while a benchmark runs, as Ray's own node counts it.

The node writes it to a file of its session, ten times a second where it is told to: nothing else
that tells of spilled bytes needs no dashboard.
"""

import re
import threading
from pathlib import Path
from types import TracebackType

import ray
from ray._private.worker import global_worker

# Set before Ray is started: how often its node writes the file.
WATCHED = {"RAY_debug_dump_period_milliseconds": "100"}
_EVERY_S = 0.05
_FREE = re.compile(r"num bytes available for pulled objects: (\d+)")
_SPILLED = re.compile(r"num bytes currently spilled: (\d+)")
_SPILLS = re.compile(r"cumulative spill requests: (\d+)")


class StoreWatch:
    """Looks at the store all the time, in a thread, from entering to leaving it.

    Attributes:
        peak_bytes: the most that was in it at a time.
        spilled_bytes: the most that was on disk at a time because it was full.
        spilled_objects: how many objects were written to disk in all.
        looks: how often it was looked at.
    """

    def __init__(self) -> None:
        self.peak_bytes = self.spilled_bytes = self.spilled_objects = self.looks = 0
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call] # of Ray's
        self._bytes = int(resources["object_store_memory"])
        if (node := global_worker.node) is None:
            raise RuntimeError("no Ray has been started by this process")
        self._file = Path(node.get_session_dir_path()) / "logs" / "debug_state.txt"
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

    def _watch(self) -> None:
        while not self._end.wait(_EVERY_S):
            text = self._file.read_text() if self._file.exists() else ""
            found = [pattern.search(text) for pattern in (_FREE, _SPILLED, _SPILLS)]
            # It may be half written.
            free, spilled, spills = (int(match[1]) if match else None for match in found)
            if free is None or spilled is None or spills is None:
                continue
            self.peak_bytes = max(self.peak_bytes, self._bytes - free)
            self.spilled_bytes = max(self.spilled_bytes, spilled)
            self.spilled_objects = max(self.spilled_objects, spills)
            self.looks += 1
