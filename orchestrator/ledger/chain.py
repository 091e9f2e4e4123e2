"""The chunks of a run: those that count, from its newest checkpoint back, and those beside them."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from orchestrator.checkpoint.attempts import AttemptLog
from orchestrator.checkpoint.files import storage_errors
from orchestrator.checkpoint.manifest import (
    MANIFEST_NAME,
    CheckpointInfo,
    ChunkReference,
    DamagedError,
    parse_checkpoint_name,
)
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
    `checkpoint`, None where there is none yet; `earlier` those of the same line of attempts from
    before a time in which no ledger was kept; `others` those that were trained past the checkpoint
    which a later attempt began with. `damaged` are newer checkpoints that do not verify, and
    `set_aside` those that a driver found so.
    """

    checkpoint: str | None
    effective: tuple[Chunk, ...]
    earlier: tuple[Chunk, ...]
    others: tuple[Chunk, ...]
    damaged: tuple[str, ...]
    set_aside: tuple[str, ...]

    @property
    def begin(self) -> int:
        """The steps of the run that were done before those of which the ledger tells."""
        return self.effective[0].header.first_step if self.effective else 0

    @property
    def steps(self) -> int:
        """The steps of the run that count so far."""
        return self.effective[-1].header.last_step if self.effective else 0

    @property
    def recorded(self) -> int:
        """The steps that count of which the ledger tells."""
        return self.steps - self.begin

    @property
    def bytes(self) -> int:
        return sum(chunk.bytes for chunk in (*self.effective, *self.earlier, *self.others))

    @property
    def lost(self) -> tuple[str, ...]:
        """What tells that steps were saved once, where no checkpoint is left that counts."""
        if self.checkpoint is not None:
            return ()
        checkpoints = dict.fromkeys((*self.damaged, *self.set_aside))
        return (
            *(f"the checkpoint {name}" for name in checkpoints),
            *(chunk.shown for chunk in self.others),
        )


def read_chain(run_dir: Path) -> Chain:
    """The chunks of a run, each verified.

    Raises:
        LedgerError: a chunk is missing, torn or edited, or no ledger was kept; with its name.
        CheckpointError: the storage cannot be read.
    """
    folder = ledger_dir(run_dir)
    root = run_dir / "checkpoints"
    newest, damaged = _newest_valid(root)
    effective = () if newest is None else _chain_to(folder, newest)
    others = _others(folder, effective)
    earlier = _of_the_line(run_dir, effective[0], others) if effective else ()
    return Chain(
        checkpoint=None if newest is None else newest.name,
        effective=effective,
        earlier=earlier,
        others=tuple(chunk for chunk in others if chunk not in earlier),
        damaged=damaged,
        set_aside=tuple(sorted(_checkpoint_names(root / "set-aside"))),
    )


def _chain_to(folder: Path, newest: CheckpointInfo) -> tuple[Chunk, ...]:
    """The chunks that lead to a checkpoint, the oldest first."""
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
    return tuple(reversed(chunks))


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


def _newest_valid(root: Path) -> tuple[CheckpointInfo | None, tuple[str, ...]]:
    """As a driver would choose it, but nothing is set aside here; and the names before it."""
    store = CheckpointStore(root)
    # Before the store looks: what is committed meanwhile is not taken for damaged.
    names = _checkpoint_names(root)
    # It lists none whose manifest is torn, or whose files have another size.
    listed = {info.name: info for info in store.committed()}
    damaged: list[str] = []
    for name in names:
        info = listed.get(name)
        try:
            if info is not None:
                store.verify(info)
                return info, tuple(damaged)
        except DamagedError:
            pass
        damaged.append(name)
    return None, tuple(damaged)


def _checkpoint_names(folder: Path) -> list[str]:
    """The names of the checkpoints that were committed in a folder, newest first."""
    with storage_errors("list", folder):
        paths = list(folder.iterdir()) if folder.is_dir() else []
        named = [
            (key, path.name)
            for path in paths
            if (key := parse_checkpoint_name(path.name)) and (path / MANIFEST_NAME).exists()
        ]
    return [name for _, name in sorted(named, reverse=True)]


def _of_the_line(run_dir: Path, first: Chunk, others: tuple[Chunk, ...]) -> tuple[Chunk, ...]:
    """Those chunks that were trained up to a checkpoint from which the run went on to `first`."""
    if first.header.first_step == 0:
        return ()
    attempts = {attempt.number: attempt for attempt in AttemptLog(run_dir / "attempts").all()}
    found: list[Chunk] = []
    attempt = attempts.get(first.header.attempt)
    # A parent is an older attempt: the line ends.
    while attempt is not None and attempt.parent is not None and attempt.parent < attempt.number:
        found += [
            chunk
            for chunk in others
            if chunk.header.attempt == attempt.parent and chunk.header.last_step <= attempt.step
        ]
        attempt = attempts.get(attempt.parent)
    return tuple(sorted(found, key=lambda chunk: chunk.header.first_step))


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
