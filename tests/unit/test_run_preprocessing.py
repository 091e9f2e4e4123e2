"""Where the states of fitted transforms come from: the attempt's checkpoint, else a pass."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.checkpoint.attempts import Attempt
from orchestrator.data.fitted import PREPROCESSING_FILE, FittedState, dump_states, parse_states
from orchestrator.errors import CheckpointError, DataError
from orchestrator.jsonl import JsonLinesWriter, read_json_lines
from orchestrator.plan.fitted import PlannedFit
from orchestrator.plan.job import JobPlan
from orchestrator.plan.stream import StreamPlan
from orchestrator.run import preprocessing
from orchestrator.run.directory import RunDirectory
from orchestrator.run.preprocessing import Preprocessing
from tests.support.plans import make_plan, make_spec

STATES = (
    FittedState(use="m:Fit", position=1, text='{"mean": 0.1}'),
    FittedState(use="m:Other", position=3, text='{"words": ["a"]}'),
)
CHECKPOINT = "step-000000010-001"


class Passes:
    """Stands in for the passes over the rows, which need Ray; fails where it is told to."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []
        self.error: BaseException | None = None

    def __call__(
        self, stream: StreamPlan, fit: PlannedFit, *, root: Path, fitted: tuple[FittedState, ...]
    ) -> FittedState:
        self.seen.append((fit.position, len(fitted)))
        if self.error is not None and fitted:
            raise self.error
        return STATES[len(fitted)]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Passes:
    passes = Passes()
    monkeypatch.setattr(preprocessing, "fit_transform", passes)
    return passes


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    return RunDirectory(path=tmp_path)


@pytest.fixture
def states(directory: RunDirectory, passes: Passes) -> Iterator[Preprocessing]:
    with JsonLinesWriter(directory.events) as events:
        yield Preprocessing(plan(), directory, events)


def plan() -> JobPlan:
    return make_plan(make_spec(transforms=["m:Fit", "m:f", "m:Other"]), fitted={"m:Fit", "m:Other"})


def attempt(checkpoint: str | None = None) -> Attempt:
    return Attempt(
        number=1,
        parent=None,
        step=0,
        checkpoint=checkpoint,
        checkpoint_digest=None,
        workers=2,
        driver=1,
        reason="started",
        host="here",
        pid=1,
        started_at=0.0,
    )


def write_checkpoint(directory: RunDirectory, text: str) -> None:
    folder = directory.path / "checkpoints" / CHECKPOINT
    folder.mkdir(parents=True)
    (folder / "preprocessing.json").write_text(text)


def test_a_run_without_a_checkpoint_fits_one_after_another_and_writes_it_down(
    states: Preprocessing, passes: Passes, directory: RunDirectory
) -> None:
    assert states.of(attempt()) == STATES
    assert passes.seen == [(1, 0), (3, 1)]
    assert parse_states((directory.path / PREPROCESSING_FILE).read_text()) == STATES
    events = read_json_lines(directory.events)
    assert [(event["event"], event["use"]) for event in events] == [
        ("fitting", "m:Fit"),
        ("fitted", "m:Fit"),
        ("fitting", "m:Other"),
        ("fitted", "m:Other"),
    ]
    assert events[1]["rows"] == 100


def test_another_attempt_from_the_start_does_not_read_the_rows_again(
    states: Preprocessing, passes: Passes
) -> None:
    assert states.of(attempt()) == states.of(attempt()) == STATES
    assert len(passes.seen) == 2


def test_an_attempt_from_a_checkpoint_takes_the_states_from_there(
    states: Preprocessing, passes: Passes, directory: RunDirectory
) -> None:
    write_checkpoint(directory, dump_states(STATES))
    (directory.path / PREPROCESSING_FILE).write_text("of another time")
    assert states.of(attempt(CHECKPOINT)) == STATES
    assert passes.seen == []
    assert parse_states((directory.path / PREPROCESSING_FILE).read_text()) == STATES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read .*preprocessing.json: No such file"),
        ("{}", "preprocessing.json is damaged: no list of states"),
        (dump_states(STATES[:1]), "holds the states of m:Fit, wanted m:Fit, m:Other"),
    ],
)
def test_a_checkpoint_without_these_states_is_refused(
    states: Preprocessing, directory: RunDirectory, text: str | None, message: str
) -> None:
    if text is not None:
        write_checkpoint(directory, text)
    with pytest.raises(CheckpointError, match=message):
        states.of(attempt(CHECKPOINT))


@pytest.mark.parametrize("error", [DataError("no"), KeyboardInterrupt()])
def test_a_pass_that_does_not_end_leaves_nothing(
    states: Preprocessing, passes: Passes, directory: RunDirectory, error: BaseException
) -> None:
    passes.error = error
    with pytest.raises(type(error)):
        states.of(attempt())
    assert [path.name for path in directory.path.iterdir()] == ["events.jsonl"]


def test_a_job_without_fitted_transforms_has_no_states(
    directory: RunDirectory, passes: Passes
) -> None:
    with JsonLinesWriter(directory.events) as events:
        assert Preprocessing(make_plan(), directory, events).of(attempt()) == ()
    assert not (directory.path / PREPROCESSING_FILE).exists()
