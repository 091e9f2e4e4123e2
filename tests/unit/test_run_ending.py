"""How a run ended is in its events, whatever ended it."""

from pathlib import Path

import pytest

from orchestrator.checkpoint.attempts import Attempt, AttemptLog
from orchestrator.errors import ClusterError, JobFailedError, OrchestratorError
from orchestrator.jsonl import JsonLinesWriter, read_json_lines
from orchestrator.run.ending import ending_recorded
from orchestrator.run.holder import LEASE_FILE
from orchestrator.run.lease import hold_lease

ATTEMPT = Attempt(
    number=1,
    parent=None,
    step=0,
    checkpoint=None,
    checkpoint_digest=None,
    workers=1,
    driver=1,
    reason="started",
    host="here",
    pid=1,
    started_at=0.0,
)


class StoppedError(OrchestratorError):
    exit_code = 130


def end_with(error: BaseException | None, folder: Path, *, lose: bool = False) -> None:
    log = AttemptLog(folder / "attempts")
    with (
        hold_lease(folder, say=print) as lease,
        JsonLinesWriter(folder / "events.jsonl") as events,
        ending_recorded(events, log, lease),
    ):
        log.begin(ATTEMPT)
        if lose:
            (folder / LEASE_FILE).unlink()
            lease.renew()
        if error is not None:
            raise error


@pytest.mark.parametrize(
    ("error", "fields"),
    [
        (ClusterError("no ray"), {"event": "failed", "reason": "no ray", "exit_code": 3}),
        (JobFailedError("it broke"), {"event": "failed", "reason": "it broke", "exit_code": 1}),
        (KeyError("x"), {"event": "failed", "reason": "KeyError: 'x'", "exit_code": 1}),
        (KeyboardInterrupt(), {"event": "interrupted"}),
        (StoppedError("stopped"), {"event": "interrupted"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_is_recorded_and_raised_on(
    tmp_path: Path, error: BaseException, fields: dict[str, object]
) -> None:
    with pytest.raises(type(error)):
        end_with(error, tmp_path)
    (written,) = read_json_lines(tmp_path / "events.jsonl")
    assert written.pop("time")
    assert written == {"attempt": 1, **fields}


def test_a_good_end_and_a_lost_lease_leave_no_word(tmp_path: Path) -> None:
    end_with(None, tmp_path)
    assert read_json_lines(tmp_path / "events.jsonl") == []
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(JobFailedError, match="it broke"):
        end_with(JobFailedError("it broke"), other, lose=True)
    assert read_json_lines(other / "events.jsonl") == []


def test_a_failure_of_an_earlier_attempt_is_not_blamed_for_what_came_before_the_next(
    tmp_path: Path,
) -> None:
    log = AttemptLog(tmp_path / "attempts")
    log.begin(ATTEMPT)
    error = ClusterError("no ray")
    with (
        pytest.raises(ClusterError),
        hold_lease(tmp_path, say=print) as lease,
        JsonLinesWriter(tmp_path / "events.jsonl") as events,
        ending_recorded(events, log, lease),
    ):
        raise error
    (written,) = read_json_lines(tmp_path / "events.jsonl")
    assert written["attempt"] is None
