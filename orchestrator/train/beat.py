"""What a rank's pulse leaves in the run directory, and how the driver reads it."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

BEATS_FOLDER = "beats"
# A beat is written over the one before, always as long: longer than any can be.
_LENGTH = 512
_SLOWEST_S, _FASTEST_S = 10.0, 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Beat:
    """How far a rank has come.

    Attributes:
        node: Ray's name of the node it is on.
        birth: when its process began, in seconds since its machine did.
        thread: Python's number of the thread that trains.
        count: of the beats; it grows as long as any Python of the process runs.
        step: steps of the run that are done.
        collectives: those that this rank has begun.
        validated: validation batches it was given.
        ended: whether it has trained to the end, or raised.
    """

    rank: int
    workers: int
    node: str
    pid: int
    birth: float
    thread: int
    count: int
    step: int
    collectives: int
    validated: int
    ended: bool = False

    @property
    def progress(self) -> tuple[int, int, int]:
        """What changes as long as the training goes on."""
        return self.step, self.collectives, self.validated

    def to_bytes(self) -> bytes:
        """The content of its file."""
        return json.dumps(asdict(self)).encode().ljust(_LENGTH)


_ADAPTER = TypeAdapter(Beat)


def beats_folder(run_dir: Path, attempt: int) -> Path:
    """Where the ranks of an attempt write."""
    return run_dir / BEATS_FOLDER / f"attempt-{attempt}"


def beat_path(folder: Path, rank: int) -> Path:
    """The file of a rank's newest beat."""
    return folder / f"rank-{rank}.json"


def stack_path(folder: Path, rank: int) -> Path:
    """The file that a rank writes its stacks to when it is asked."""
    return folder / f"rank-{rank}.stacks"


def pulse_period(limit_s: float) -> float:
    """Seconds between beats, and between the driver's looks at them."""
    return max(_FASTEST_S, min(_SLOWEST_S, limit_s / 20))


def read_beats(folder: Path) -> dict[int, Beat]:
    """The newest beat of each rank that has begun; one that is just being written is left out."""
    return {beat.rank: beat for beat in _parsed(folder)}


def _parsed(folder: Path) -> Iterator[Beat]:
    for path in sorted(folder.glob("rank-*.json")):
        try:
            yield _ADAPTER.validate_json(path.read_bytes())
        except (OSError, ValidationError):  # half a beat, or out of reach: there will be another
            continue
