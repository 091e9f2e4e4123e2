"""The chunks of a run: those that count, from its newest checkpoint back, and those beside them."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from orchestrator.checkpoint.files import storage_errors
from orchestrator.checkpoint.manifest import CheckpointInfo, ChunkReference, DamagedError
from orchestrator.checkpoint.store import CheckpointStore
from orchestrator.errors import LedgerError
from orchestrator.ledger.chunk import ChunkHeader, parse_header, parse_records
from orchestrator.ledger.files import LEDGER_DIR, ledger_dir
from orchestrator.ledger.record import Records


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A chunk that is as it was written; its records are read when they are asked for."""

    path: Path
    header: ChunkHeader
    sha256: str
    bytes: int

    @property
    def shown(self) -> str:
        """Its path in the run's directory."""
        return _shown(self.path.name)

    def records(self) -> Records:
        """All of its records.

        Raises:
            LedgerError: they are not, or no longer, what was written.
        """
        _, records = parse_records(_read(self.path), self.path.name)
        return records


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The ledger of a run, the oldest chunk first.

    `effective` has the chunks that lead to the newest valid checkpoint, which has the name
    `checkpoint`, None where there is none yet; `others` are those that were trained past the
    checkpoint which a later attempt began with. `damaged` are newer checkpoints that do not verify.
    """

    checkpoint: str | None
    effective: tuple[Chunk, ...]
    others: tuple[Chunk, ...]
    damaged: tuple[str, ...]

    @property
    def steps(self) -> int:
        """The steps of the run that count so far."""
        return self.effective[-1].header.last_step if self.effective else 0

    @property
    def bytes(self) -> int:
        return sum(chunk.bytes for chunk in (*self.effective, *self.others))


def read_chain(run_dir: Path) -> Chain:
    """The chunks of a run, each verified.

    Raises:
        LedgerError: a chunk is missing, torn or edited, or no ledger was kept; with its name.
        CheckpointError: the storage cannot be read.
    """
    folder = ledger_dir(run_dir)
    newest, damaged = _newest_valid(CheckpointStore(run_dir / "checkpoints"))
    if newest is None:
        return Chain(checkpoint=None, effective=(), others=_others(folder, ()), damaged=damaged)
    manifest = newest.manifest
    if manifest.ledger is None:
        raise LedgerError(
            f"the checkpoint {newest.name} names no ledger",
            hint="checkpoint.ledger was false when it was written",
        )
    chunks = [_follow(folder, manifest.ledger, source=f"the checkpoint {newest.name}")]
    if chunks[0].header.last_step != manifest.step:
        raise LedgerError(
            f"{_shown(manifest.ledger.name)} ends at step {chunks[0].header.last_step}, but the"
            f" checkpoint {newest.name} at step {manifest.step}"
        )
    while (parent := chunks[-1].header.parent) is not None:
        child = chunks[-1]
        chunks.append(_follow(folder, parent, source=_shown(child.path.name)))
        # Steps go down by it, so that no chain is endless.
        if chunks[-1].header.last_step != child.header.first_step:
            raise LedgerError(
                f"{_shown(child.path.name)} begins after step {child.header.first_step}, but"
                f" follows {_shown(parent.name)}, which ends at step {chunks[-1].header.last_step}"
            )
    effective = tuple(reversed(chunks))
    return Chain(
        checkpoint=newest.name,
        effective=effective,
        others=_others(folder, effective),
        damaged=damaged,
    )


def read_chunk(folder: Path, name: str) -> Chunk:
    """A chunk of a ledger's folder.

    Raises:
        LedgerError: it is torn or edited.
    """
    data = _read(folder / name)
    header = parse_header(data, name)
    return Chunk(
        path=folder / name, header=header, sha256=sha256(data).hexdigest(), bytes=len(data)
    )


def _newest_valid(store: CheckpointStore) -> tuple[CheckpointInfo | None, tuple[str, ...]]:
    """As a driver would choose it, but nothing is set aside here; and the names before it."""
    damaged = []
    for info in store.committed():
        try:
            store.verify(info)
        except DamagedError:
            damaged.append(info.name)
        else:
            return info, tuple(damaged)
    return None, tuple(damaged)


def _follow(folder: Path, reference: ChunkReference, *, source: str) -> Chunk:
    if not (folder / reference.name).is_file():
        raise LedgerError(f"{_shown(reference.name)} is missing, which {source} names")
    chunk = read_chunk(folder, reference.name)
    if chunk.sha256 != reference.sha256:
        raise LedgerError(
            f"{_shown(reference.name)} is not the file that {source} names: it has another SHA-256"
        )
    return chunk


def _others(folder: Path, effective: tuple[Chunk, ...]) -> tuple[Chunk, ...]:
    known = {chunk.path.name for chunk in effective}
    with storage_errors("list", folder):
        names = sorted(path.name for path in folder.glob("*.chunk")) if folder.is_dir() else []
    return tuple(read_chunk(folder, name) for name in names if name not in known)


def _read(path: Path) -> bytes:
    with storage_errors("read", path):
        return path.read_bytes()


def _shown(name: str) -> str:
    return f"{LEDGER_DIR}/{name}"
