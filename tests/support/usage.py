"""What a run and its cluster use of the machine, sample by sample, and whether that grows."""

import json
import os
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support.runs import members_of

MIB = 1 << 20
_SHARED_MEMORY = "/dev/shm/"


@dataclass(frozen=True, kw_only=True, slots=True)
class Bound:
    """How much a figure may grow: by a share of what it was, and by so much besides."""

    share: float
    besides: float

    def limit(self, before: float) -> float:
        return before * (1 + self.share) + self.besides


@dataclass(frozen=True, kw_only=True, slots=True)
class Growth:
    """One figure in the first third and in the last one, the median of each."""

    name: str
    before: float
    after: float
    limit: float

    @property
    def within(self) -> bool:
        return self.after <= self.limit

    def __str__(self) -> str:
        numbers = [self.before, self.after, self.limit]
        if self.name.endswith(" bytes"):
            first, last, limit = (f"{number / MIB:.1f} MiB" for number in numbers)
        else:
            first, last, limit = (f"{number:.0f}" for number in numbers)
        verdict = "" if self.within else "  TOO MUCH"
        return f"{self.name.removesuffix(' bytes')}: {first} -> {last} (at most {limit}){verdict}"


MEMORY = Bound(share=0.25, besides=32 * MIB)
BOUNDS: Mapping[str, Bound] = {
    "driver memory bytes": MEMORY,
    "head raylet memory bytes": MEMORY,
    "head GCS memory bytes": MEMORY,
    "driver open files": Bound(share=0.25, besides=16),
    "head raylet open files": Bound(share=0.25, besides=16),
    "head GCS open files": Bound(share=0.25, besides=16),
    "processes": Bound(share=0.25, besides=6),
    "shared memory bytes": Bound(share=0.25, besides=32 * MIB),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """All figures at one moment of the monotonic clock."""

    at: float
    figures: Mapping[str, float]


class Usage:
    """Takes samples of a cluster and of its driver, as often as it is asked but not too often.

    Args:
        cluster: folder of the cluster's processes.
        raylet: process number of the head's raylet.
        temporary: folders for temporary files, that of the cluster among them.
        every_s: seconds between samples.
    """

    def __init__(
        self, cluster: Path, raylet: int, temporary: Sequence[Path], *, every_s: float = 3.0
    ) -> None:
        self._cluster = cluster
        self._raylet = psutil.Process(raylet)
        self._gcs = _beside(self._raylet, "gcs_server")
        self._temporary = temporary
        self._every_s = every_s
        self._began = time.time()
        self.samples: list[Sample] = []

    def sample(self, driver: int) -> None:
        """Takes a sample, where the last one is old enough."""
        now = time.monotonic()
        if self.samples and now < self.samples[-1].at + self._every_s:
            return
        members = members_of(self._cluster)
        figures: dict[str, float] = {
            **_of_process("head raylet", self._raylet),
            **_of_process("head GCS", self._gcs),
            "processes": len(members),
            "shared memory bytes": shared_memory(members, since=self._began),
            "temporary files": sum(1 for _ in self._files()),
            "temporary bytes": sum(_size(file) for file in self._files()),
        }
        try:
            figures |= _of_process("driver", psutil.Process(driver))
        except psutil.NoSuchProcess:
            # Killed a moment ago; the next sample has the next one.
            return
        self.samples.append(Sample(at=now, figures=figures))

    def growth(self, bounds: Mapping[str, Bound]) -> list[Growth]:
        """Each figure that has a bound, from the first third of the samples to the last."""
        return growth(self.samples, bounds)

    def write(self, file: Path) -> None:
        """Writes all samples, one a line, for who wants to see a curve."""
        lines = [json.dumps({"at": each.at, **each.figures}) for each in self.samples]
        file.write_text("".join(f"{line}\n" for line in lines))

    def _files(self) -> Iterator[Path]:
        for folder in self._temporary:
            for parent, _, names in os.walk(folder):
                yield from (Path(parent, name) for name in names)


def growth(samples: Sequence[Sample], bounds: Mapping[str, Bound]) -> list[Growth]:
    """Medians, as a fault makes any figure jump for seconds; what leaks, leaks for good."""
    assert len(samples) >= 9, f"{len(samples)} samples say nothing of growth"
    length = (samples[-1].at - samples[0].at) / 3
    early = [each for each in samples if each.at <= samples[0].at + length]
    late = [each for each in samples if each.at >= samples[-1].at - length]

    def middle(name: str, of: Sequence[Sample]) -> float:
        return statistics.median(sample.figures[name] for sample in of)

    return [
        Growth(
            name=name,
            before=middle(name, early),
            after=middle(name, late),
            limit=bound.limit(middle(name, early)),
        )
        for name, bound in bounds.items()
    ]


def shared_memory(processes: Sequence[psutil.Process], *, since: float) -> int:
    """Bytes of shared memory that processes hold, and of files that were left there.

    Args:
        since: files that nobody holds count if they are newer, Unix time in seconds.
    """
    sizes: dict[int, int] = {}
    # Ray deletes its store's file at once, so that only those who have it open can tell its size.
    for link in (link for process in processes for link in _open_files(process)):
        with suppress(OSError):
            # As text and not as a path: it ends in " (deleted)".
            if os.readlink(link).startswith(_SHARED_MEMORY):  # noqa: PTH115
                _add(sizes, link.stat())
    for file in Path(_SHARED_MEMORY).iterdir():
        with suppress(OSError):
            found = file.stat()
            if found.st_uid == os.getuid() and found.st_ctime >= since:
                _add(sizes, found)
    return sum(sizes.values())


def marked_processes(name: str, value: str) -> list[psutil.Process]:
    """The processes that run with this in their environment, this one aside."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(name) == value and process.pid != os.getpid():
                found.append(process)
    return found


def _open_files(process: psutil.Process) -> list[Path]:
    try:
        return list(Path(f"/proc/{process.pid}/fd").iterdir())
    except OSError:
        # It has ended meanwhile.
        return []


def _add(sizes: dict[int, int], found: os.stat_result) -> None:
    # What has been touched of it, as a store's file is as large as the store may become.
    sizes[found.st_ino] = found.st_blocks * 512


def _of_process(name: str, process: psutil.Process) -> dict[str, float]:
    with process.oneshot():
        return {
            f"{name} memory bytes": process.memory_info().rss,
            f"{name} open files": process.num_fds(),
        }


def _beside(process: psutil.Process, name: str) -> psutil.Process:
    """A process that was started by the same one."""
    parent = process.parent()
    assert parent is not None
    (found,) = [other for other in parent.children() if other.name() == name]
    return found


def _size(file: Path) -> int:
    try:
        return file.lstat().st_size
    except FileNotFoundError:
        return 0
