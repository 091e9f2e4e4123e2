"""What the store lists is complete, what it verifies is intact, and nothing damaged is deleted."""

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.checkpoint.manifest import DamagedError, Manifest
from orchestrator.checkpoint.store import CheckpointStore
from orchestrator.errors import CheckpointError

FILES = {"model.bin": b"weights" * 50, "empty.bin": b"", "rank/0.bin": b"random state"}
NAMES = [*FILES, "MANIFEST.json"]


def unfenced() -> None:
    """The fence of an attempt that nobody has superseded."""


def blank(step: int, attempt: int) -> Manifest:
    return Manifest(
        name="",
        attempt=attempt,
        step=step,
        cursor={"epoch": 0, "step": step},
        metrics={},
        order_fingerprint="f",
        parts={},
        versions={},
    )


def fill(directory: Path) -> None:
    for name, content in FILES.items():
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)


def save(store: CheckpointStore, step: int, attempt: int = 1) -> Manifest:
    directory = store.stage(step, attempt)
    fill(directory)
    return store.commit(directory, blank(step, attempt), fence=unfenced)


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints", clock=lambda: 12.5)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


def names(store: CheckpointStore) -> list[str]:
    return [info.name for info in store.committed()]


def test_a_store_without_a_directory_is_empty(store: CheckpointStore) -> None:
    assert store.committed() == []
    assert store.newest_valid() == (None, [])
    assert store.remove_uncommitted(9) == ()


def test_a_commit_describes_every_file(store: CheckpointStore, root: Path) -> None:
    manifest = save(store, 300)
    assert manifest.name == "step-000000300-001"
    assert manifest.created_at == 12.5
    assert {entry.path: entry.size for entry in manifest.files} == {
        name: len(content) for name, content in FILES.items()
    }
    assert (root / manifest.name / "MANIFEST.json").read_bytes() == manifest.to_bytes()
    assert store.read_verified(manifest.name, manifest.digest) == (manifest, root / manifest.name)


def test_checkpoints_are_listed_newest_first(store: CheckpointStore) -> None:
    for step, attempt in [(20, 1), (3, 1), (20, 2), (1_000_000_000, 1), (20, 2)]:
        save(store, step, attempt)
    assert names(store) == [
        "step-1000000000-001",
        "step-000000020-002-b",
        "step-000000020-002",
        "step-000000020-001",
        "step-000000003-001",
    ]


def test_a_staged_directory_is_never_reused(store: CheckpointStore, root: Path) -> None:
    first = store.stage(5, 1)
    (first / "stump").write_bytes(b"x")
    second = store.stage(5, 1)
    assert (first.name, second.name) == ("step-000000005-001", "step-000000005-001-b")
    assert list(second.iterdir()) == []
    (root / "set-aside" / "step-000000006-001").mkdir(parents=True)
    assert store.stage(6, 1).name == "step-000000006-001-b"


def test_torn_saves_without_end_are_an_error(store: CheckpointStore) -> None:
    for _ in range(26):
        store.stage(5, 1)
    with pytest.raises(CheckpointError, match="too many torn saves of step 5"):
        store.stage(5, 1)


def test_a_superseded_attempt_commits_nothing(store: CheckpointStore) -> None:
    def fence() -> None:
        raise CheckpointError("attempt 1 has been superseded by attempt 2")

    save(store, 1)
    directory = store.stage(2, 1)
    fill(directory)
    with pytest.raises(CheckpointError, match="superseded by attempt 2"):
        store.commit(directory, blank(2, 1), fence=fence)
    assert names(store) == ["step-000000001-001"]


def test_everything_is_on_the_disk_before_the_mark(
    store: CheckpointStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    real_fsync = os.fsync

    def fsync(descriptor: int) -> None:
        real_fsync(descriptor)
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        done.append(path.relative_to(root).as_posix())

    directory = store.stage(1, 1)
    fill(directory)
    monkeypatch.setattr(os, "fsync", fsync)
    store.commit(directory, blank(1, 1), fence=lambda: done.append("fence"))
    mark = f"{directory.name}/MANIFEST.json.tmp"
    assert done[-3:] == [mark, "fence", directory.name]
    assert set(done[:-3]) == {
        ".",
        directory.name,
        f"{directory.name}/rank",
        *(f"{directory.name}/{name}" for name in FILES),
    }


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda directory: shutil.rmtree(directory / "rank"), None),
        (lambda directory: [path.unlink() for path in directory.glob("*.bin")], None),
        (lambda directory: (directory / "link").symlink_to("/etc/passwd"), "neither a file nor"),
        (lambda directory: (directory / "MANIFEST.json").write_text("{}"), "MANIFEST.json of its"),
        (lambda directory: (directory / "REASON.txt").write_text("x"), "REASON.txt of its own"),
    ],
)
def test_only_plain_files_are_committed(
    store: CheckpointStore, spoil: Callable[[Path], object], problem: str | None
) -> None:
    directory = store.stage(1, 1)
    fill(directory)
    spoil(directory)
    if problem is None:
        store.commit(directory, blank(1, 1), fence=unfenced)
        assert names(store) == [directory.name]
        return
    with pytest.raises(CheckpointError, match=problem):
        store.commit(directory, blank(1, 1), fence=unfenced)


def test_a_checkpoint_without_files_is_refused(store: CheckpointStore) -> None:
    with pytest.raises(CheckpointError, match="has no files"):
        store.commit(store.stage(1, 1), blank(1, 1), fence=unfenced)


@pytest.mark.parametrize(
    "manifest", [blank(2, 1), blank(1, 2), replace(blank(1, 1), cursor={"epoch": 0})]
)
def test_a_manifest_that_would_not_read_back_is_not_committed(
    store: CheckpointStore, manifest: Manifest
) -> None:
    directory = store.stage(1, 1)
    fill(directory)
    with pytest.raises(CheckpointError, match=r"belongs to|cursor"):
        store.commit(directory, manifest, fence=unfenced)
    assert store.committed() == []


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes() or b"\0")
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"{")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def replace_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


DAMAGES = [flip, truncate, grow, empty, Path.unlink, replace_by_directory, replace_by_link]
HARMLESS = {
    # Nothing to cut off; and the manifest's content, wherever it lies, is what was committed.
    ("empty.bin", truncate),
    ("empty.bin", empty),
    ("MANIFEST.json", replace_by_link),
    # Only the line's end: the JSON is complete.
    ("MANIFEST.json", truncate),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", NAMES)
def test_any_damage_to_the_latest_falls_back_to_the_previous(
    store: CheckpointStore, root: Path, name: str, damage: Callable[[Path], None]
) -> None:
    previous, latest = save(store, 1), save(store, 2)
    damage(root / latest.name / name)
    found, set_aside = store.newest_valid()
    assert found is not None
    if (name, damage) in HARMLESS:
        assert (found.manifest, set_aside) == (latest, [])
        return
    assert found.manifest == previous
    if (name, damage) == ("MANIFEST.json", Path.unlink):
        assert set_aside == []  # Without its mark it is a torn save, like any other.
        return
    assert [aside.name for aside in set_aside] == [latest.name]
    assert name in set_aside[0].reason
    assert set_aside[0].path == root / "set-aside" / latest.name
    assert (set_aside[0].path / "REASON.txt").read_text() == f"{set_aside[0].reason}\n"
    assert names(store) == [previous.name]
    assert store.newest_valid() == (found, [])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(position=st.integers(0, len(FILES["model.bin"]) * 8 - 1))
def test_any_flipped_bit_of_a_file_is_found(
    store: CheckpointStore, root: Path, position: int
) -> None:
    shutil.rmtree(root, ignore_errors=True)
    manifest = save(store, 1)
    path = root / manifest.name / "model.bin"
    data = bytearray(path.read_bytes())
    data[position // 8] ^= 1 << position % 8
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"model\.bin has SHA-256 \w+, wanted \w+"):
        store.verify(store.committed()[0])


def test_a_damaged_checkpoint_is_kept_as_it_is(store: CheckpointStore, root: Path) -> None:
    save(store, 1)
    latest = save(store, 2)
    flip(root / latest.name / "model.bin")
    left = {path.name: path.read_bytes() for path in (root / latest.name).glob("*.*")}
    _, (aside,) = store.newest_valid()
    assert left.items() <= {p.name: p.read_bytes() for p in aside.path.glob("*.*")}.items()


def test_colliding_names_lie_side_by_side(store: CheckpointStore, root: Path) -> None:
    save(store, 1)
    latest = root / save(store, 2).name
    flip(latest / "model.bin")
    before = [root / "set-aside" / latest.name, root / "set-aside" / f"{latest.name}-b"]
    before[0].mkdir(parents=True)  # A rename would silently take the place of an empty one.
    shutil.copytree(latest, before[1])
    _, (aside,) = store.newest_valid()
    assert (aside.name, aside.path.name) == (latest.name, f"{latest.name}-c")
    assert list(before[0].iterdir()) == []
    assert not (before[1] / "REASON.txt").exists()


def test_when_no_checkpoint_holds_nothing_starts_from_scratch(
    store: CheckpointStore, root: Path
) -> None:
    for step in (1, 2):
        flip(root / save(store, step).name / "model.bin")
    for _ in range(2):  # The second call finds only what the first one set aside.
        with pytest.raises(CheckpointError, match=r"1-001, step-000000002-001 damaged") as caught:
            store.newest_valid()
        assert "set-aside" in (caught.value.hint or "")


def test_a_checkpoint_of_another_version_is_left_where_it_is(
    store: CheckpointStore, root: Path
) -> None:
    save(store, 1)
    newer = root / save(store, 2).name / "MANIFEST.json"
    manifest = replace(store.committed()[0].manifest, format_version=7)
    newer.write_bytes(manifest.to_bytes())
    with pytest.raises(CheckpointError, match=r"2-001: .*format_version: got 7, wanted 1"):
        store.newest_valid()
    assert newer.exists()


def test_a_renamed_copy_is_not_taken_for_a_checkpoint(store: CheckpointStore, root: Path) -> None:
    first = save(store, 1)
    shutil.copytree(root / first.name, root / "step-000000009-001")
    shutil.copytree(root / first.name, root / "backup")
    assert names(store) == [first.name]
    found, (aside,) = store.newest_valid()
    assert found is not None
    assert found.name == first.name
    assert "belongs to step-000000001-001" in aside.reason


def test_a_worker_reads_only_what_the_driver_chose(store: CheckpointStore, root: Path) -> None:
    first, second = save(store, 1), save(store, 2)
    with pytest.raises(CheckpointError, match="has digest"):
        store.read_verified(first.name, second.digest)
    for name in ["step-000000009-001", "../checkpoints/" + first.name, "", ".."]:
        with pytest.raises(CheckpointError, match="no checkpoint"):
            store.read_verified(name, first.digest)
    flip(root / first.name / "rank/0.bin")
    with pytest.raises(CheckpointError, match=r"rank/0\.bin has SHA-256"):
        store.read_verified(first.name, first.digest)


def test_a_half_deleted_checkpoint_is_uncommitted(
    store: CheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(store, 1)
    save(store, 2)

    def rmtree(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path / "model.bin"))

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    with pytest.raises(CheckpointError, match=r"cannot delete .*permission denied .*model\.bin"):
        store.delete(store.committed()[0])
    assert names(store) == ["step-000000001-001"]
    monkeypatch.undo()
    assert store.remove_uncommitted(2) == ("step-000000002-001",)


def test_only_torn_saves_of_earlier_attempts_are_removed(
    store: CheckpointStore, root: Path
) -> None:
    committed = save(store, 1, attempt=1)
    torn = [store.stage(2, attempt) for attempt in (1, 2, 3)]
    (torn[0] / "stump").write_bytes(b"x")
    (root / "notes").mkdir()
    assert store.remove_uncommitted(3) == (torn[1].name, torn[0].name)
    assert {path.name for path in root.iterdir()} == {committed.name, torn[2].name, "notes"}


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EACCES, "permission denied"),
        (errno.EROFS, "read-only"),
        (errno.ENXIO, "No such device"),
    ],
)
def test_a_storage_error_says_what_where_and_why(
    store: CheckpointStore, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    save(store, 1)
    directory = store.stage(2, 1)
    fill(directory)

    def fsync(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(CheckpointError, match=f"cannot commit .*{directory.name}: .*{words}"):
        store.commit(directory, blank(2, 1), fence=unfenced)
    monkeypatch.undo()
    found, _ = store.newest_valid()
    assert found is not None
    assert found.name == "step-000000001-001"


@pytest.mark.parametrize(("number", "damaged"), [(errno.EIO, True), (errno.EACCES, False)])
def test_an_unreadable_file_is_damage_only_when_the_disk_says_so(
    store: CheckpointStore, monkeypatch: pytest.MonkeyPatch, number: int, damaged: bool
) -> None:
    save(store, 1)
    info = store.committed()[0]
    real_open = Path.open

    def failing(path: Path, mode: str = "r") -> object:
        if path.name == "model.bin":
            raise OSError(number, os.strerror(number), str(path))
        return real_open(path, mode)

    monkeypatch.setattr(Path, "open", failing)
    with pytest.raises(CheckpointError, match=r"model\.bin") as caught:
        store.verify(info)
    assert isinstance(caught.value, DamagedError) is damaged
