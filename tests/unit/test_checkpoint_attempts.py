"""A number is used once, and only the newest attempt may commit."""

import json
import threading
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from orchestrator.checkpoint.attempts import Attempt, AttemptLog
from orchestrator.errors import CheckpointError

FIRST = Attempt(
    number=1,
    parent=None,
    step=0,
    checkpoint=None,
    checkpoint_digest=None,
    workers=2,
    driver=1,
    reason="started",
    host="here",
    pid=10,
    started_at=1.5,
)
SECOND = replace(
    FIRST,
    number=2,
    parent=1,
    step=20,
    checkpoint="step-000000020-001",
    checkpoint_digest="d" * 64,
    reason="worker 1 died",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "attempts"


@pytest.fixture
def log(folder: Path) -> AttemptLog:
    return AttemptLog(folder)


def test_a_run_that_never_began_has_no_attempts(log: AttemptLog) -> None:
    assert (log.all(), log.newest()) == ([], 0)
    log.fence(1)()


def test_attempts_come_back_oldest_first(log: AttemptLog) -> None:
    later = [replace(SECOND, number=number) for number in range(2, 12)]
    for attempt in [FIRST, *later]:
        log.begin(attempt)
    assert log.all() == [FIRST, *later]
    assert log.newest() == 11


def test_a_second_driver_cannot_begin_the_same_number(log: AttemptLog, folder: Path) -> None:
    log.begin(FIRST)
    other = AttemptLog(folder)
    with pytest.raises(CheckpointError, match="another driver has begun attempt 1"):
        other.begin(replace(FIRST, driver=2, host="there"))
    assert log.all() == [FIRST]


def test_of_many_drivers_at_once_one_begins(folder: Path) -> None:
    # With the same process number, as in containers on one shared storage.
    ready = threading.Barrier(8)
    won: list[int] = []

    def begin(driver: int) -> None:
        ready.wait()
        try:
            AttemptLog(folder).begin(replace(FIRST, driver=driver))
        except CheckpointError:
            return
        won.append(driver)

    threads = [threading.Thread(target=begin, args=(driver,)) for driver in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (attempt,) = AttemptLog(folder).all()
    assert won == [attempt.driver]
    assert [path.name for path in folder.iterdir()] == ["1.json"]


def test_an_attempt_may_commit_until_it_is_succeeded(log: AttemptLog, folder: Path) -> None:
    log.begin(FIRST)
    fence = log.fence(1)
    fence()
    AttemptLog(folder).begin(SECOND)
    with pytest.raises(CheckpointError, match="attempt 1 has been succeeded by attempt 2"):
        fence()
    log.fence(2)()


def test_an_attempt_of_a_run_that_was_set_aside_may_not_commit_into_the_new_one(
    log: AttemptLog, folder: Path
) -> None:
    log.begin(FIRST)
    fence = log.fence(1)
    folder.rename(folder.with_name("old"))
    with pytest.raises(CheckpointError, match="attempt 1 belongs to a run that was set aside"):
        fence()
    log.begin(replace(FIRST, started_at=99.0))
    with pytest.raises(CheckpointError, match="attempt 1 belongs to a run that was set aside"):
        fence()


def test_a_number_is_not_used_again_after_a_damaged_record(log: AttemptLog, folder: Path) -> None:
    log.begin(FIRST)
    (folder / "2.json").write_bytes(b"")
    assert log.newest() == 2
    with pytest.raises(CheckpointError, match="attempt 1 has been succeeded"):
        log.fence(1)()
    with pytest.raises(CheckpointError, match="another driver"):
        log.begin(SECOND)


def record(**changes: object) -> bytes:
    return json.dumps({**asdict(FIRST), **changes}).encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "1.json is not an attempt's record"),
        (record()[:50], "1.json is not an attempt's record"),
        (b"null", "1.json is not an attempt's record"),
        (b"[]", "1.json is not an attempt's record"),
        (b"\xff\xfe", "1.json is not an attempt's record"),
        (b"{}", "number: Field required"),
        (record(step="20"), "step: Input should be a valid integer"),
        (record(parent=True), "parent: Input should be a valid integer"),
        (record(number=7), "1.json is not its record, but that of 7"),
    ],
)
def test_a_damaged_record_is_an_error(
    content: bytes, message: str, log: AttemptLog, folder: Path
) -> None:
    folder.mkdir()
    (folder / "1.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        log.all()
    assert "\n" not in str(caught.value)


def test_fields_of_a_newer_version_are_passed_over(log: AttemptLog, folder: Path) -> None:
    folder.mkdir()
    (folder / "1.json").write_bytes(record(colour="red"))
    assert log.all() == [FIRST]


def test_files_of_other_names_are_passed_over(log: AttemptLog, folder: Path) -> None:
    log.begin(FIRST)
    for name in (".2.123.tmp", "2.json.bak", "two.json", "-3.json", "004.json", "\u00b2.json"):
        (folder / name).write_bytes(b"{")
    assert (log.all(), log.newest()) == ([FIRST], 1)


def test_a_storage_that_cannot_be_written_is_a_checkpoint_error(
    log: AttemptLog, folder: Path
) -> None:
    folder.write_bytes(b"a file in the way")
    with pytest.raises(CheckpointError, match="cannot write"):
        log.begin(FIRST)
