"""A mirror on a disk: what is copied, what is kept, and what an outage does."""

from pathlib import Path

import pytest

from orchestrator.checkpoint.manifest import DamagedError
from orchestrator.checkpoint.remote import RemoteFiles, Retries
from orchestrator.checkpoint.retention import LatestN
from orchestrator.errors import CheckpointError, JobFailedError
from orchestrator.jsonl import read_json_lines
from orchestrator.run.mirroring import records_of
from tests.support.mirrors import QUICK, keep, names, open_mirror, run_in, save, told, wait_for


def test_a_committed_checkpoint_is_copied_with_its_records(tmp_path: Path) -> None:
    directory, mirror = run_in(tmp_path), open_mirror(tmp_path / "mirror")
    with keep(mirror, directory):
        manifest = save(directory.checkpoints, 1)
    (info,) = mirror.listing().good
    assert info.manifest == manifest
    mirror.fetch(info, tmp_path / "back")
    assert (tmp_path / "back/model.bin").read_bytes() == b"weights" * 50 + b"1"
    mirror.fetch_records(tmp_path / "records")
    assert (tmp_path / "records/attempts/1.json").exists()
    assert told(directory) == ["mirrored"]


def test_what_may_hold_secrets_or_is_of_this_machine_is_no_record(tmp_path: Path) -> None:
    directory = run_in(tmp_path)
    for name in ("lease.json", "environment.json", ".hidden", "checkpoints/step-000000001-001/x"):
        (directory.path / name).parent.mkdir(parents=True, exist_ok=True)
        (directory.path / name).write_text("x")
    assert list(records_of(directory.path)) == ["attempts/1.json", "metrics.jsonl"]


def test_a_copy_without_its_manifest_is_no_checkpoint(tmp_path: Path) -> None:
    directory, mirror = run_in(tmp_path), open_mirror(tmp_path / "mirror")
    with keep(mirror, directory):
        save(directory.checkpoints, 1)
    next((tmp_path / "mirror").rglob("MANIFEST.json")).unlink()
    assert mirror.listing().good == ()
    assert mirror.listing().damaged == {}


def test_a_file_of_another_size_or_content_is_damage(tmp_path: Path) -> None:
    directory, mirror = run_in(tmp_path), open_mirror(tmp_path / "mirror")
    with keep(mirror, directory):
        save(directory.checkpoints, 1)
    weights = next((tmp_path / "mirror").rglob("model.bin"))
    good = weights.read_bytes()
    weights.write_bytes(b"W" + good[1:])
    (info,) = mirror.listing().good
    with pytest.raises(DamagedError, match=r"model\.bin has SHA-256"):
        mirror.fetch(info, tmp_path / "back")
    weights.write_bytes(good[1:])
    assert "bytes, wanted" in mirror.listing().damaged[info.name]


def test_a_local_file_that_changed_is_never_marked_as_a_checkpoint(tmp_path: Path) -> None:
    directory, mirror = run_in(tmp_path), open_mirror(tmp_path / "mirror")
    save(directory.checkpoints, 1)
    (info,) = directory.checkpoints.committed()
    content = (info.path / "model.bin").read_bytes()
    (info.path / "model.bin").write_bytes(content.upper())
    with pytest.raises(DamagedError, match=r"model\.bin has SHA-256"):
        mirror.put_checkpoint(info)
    assert mirror.listing().good == ()


def test_older_ones_go_once_the_newest_was_read_back(tmp_path: Path) -> None:
    directory, mirror = run_in(tmp_path), open_mirror(tmp_path / "mirror")
    with keep(mirror, directory):
        for step in (1, 2, 3):
            save(directory.checkpoints, step)
    assert names(mirror) == ["step-000000003-001", "step-000000002-001"]


def test_nothing_is_deleted_while_the_newest_is_damaged(tmp_path: Path) -> None:
    directory, mirror = run_in(tmp_path), open_mirror(tmp_path / "mirror")
    for step in (1, 2, 3):
        save(directory.checkpoints, step)
    for info in directory.checkpoints.committed():
        mirror.put_checkpoint(info)
    weights = next((tmp_path / "mirror").rglob("step-000000003-001/model.bin"))
    weights.write_bytes(b"W" + weights.read_bytes()[1:])
    with pytest.raises(DamagedError, match="SHA-256"):
        mirror.prune(LatestN(1))
    assert len(names(mirror)) == 3


def test_an_outage_is_told_once_with_its_place_and_the_copy_follows(tmp_path: Path) -> None:
    directory, place = run_in(tmp_path), tmp_path / "mirror"
    place.write_text("a file where a folder should be")
    with keep(open_mirror(place), directory):
        save(directory.checkpoints, 1)
        wait_for(lambda: "mirror-failed" in told(directory))
        failed = read_json_lines(directory.events)[0]
        assert str(place) in str(failed["reason"])
        place.unlink()
        wait_for(lambda: "mirrored" in told(directory))
    assert told(directory) == ["mirror-failed", "mirrored", "mirror-recovered"]
    assert names(open_mirror(place)) == ["step-000000001-001"]


def test_an_outage_at_the_end_is_waited_for_no_longer_than_the_limit(tmp_path: Path) -> None:
    directory, place = run_in(tmp_path), tmp_path / "mirror"
    stuck = Retries(count=1000, first_s=1000.0, longest_s=1000.0)
    place.mkdir()
    (place / "job").symlink_to("job")  # a loop: an error that another try may mend
    with keep(open_mirror(place, retries=stuck), directory, end_wait_s=0.2):
        save(directory.checkpoints, 1)
    (failed,) = read_json_lines(directory.events)
    assert failed["event"] == "mirror-failed"
    assert "has not taken the last copy" in str(failed["reason"])


def test_a_run_that_is_anothers_by_now_leaves_its_mirror_alone(tmp_path: Path) -> None:
    directory, mirror = run_in(tmp_path), open_mirror(tmp_path / "mirror")
    thread = keep(mirror, directory)

    def lost() -> None:
        raise JobFailedError("taken over")

    thread._still_ours = lost
    with thread:
        save(directory.checkpoints, 1)
    assert mirror.listing().good == ()


def test_retries_come_to_an_end_and_wait_longer_each_time(tmp_path: Path) -> None:
    waits: list[float] = []
    (tmp_path / "loop").symlink_to("loop")
    remote = RemoteFiles(str(tmp_path / "loop"), root=tmp_path, retries=QUICK, wait=waits.append)
    with pytest.raises(CheckpointError, match=r"cannot write .*loop/key: "):
        remote.put_bytes(b"x", "key")
    assert waits == list(QUICK.delays()) == [0.01, 0.02, 0.04, 0.05]
