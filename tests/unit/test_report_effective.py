"""Which records count when attempts have redone each other's steps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.report.effective import AttemptLink, effective_records, last_effective_steps
from orchestrator.report.records import Record, TrainRecord, ValidationRecord


def link(attempt: int, parent: int | None, start_step: int) -> AttemptLink:
    return AttemptLink(attempt=attempt, parent=parent, start_step=start_step)


def train(attempt: int, step: int) -> TrainRecord:
    return TrainRecord(
        time=float(step),
        attempt=attempt,
        epoch=0,
        step=step,
        loss=1.0,
        lr=0.1,
        rows=step * 8,
        rows_per_s=8.0,
        wait_share=0.0,
    )


def validation(attempt: int, step: int) -> ValidationRecord:
    return ValidationRecord(
        time=float(step), attempt=attempt, epoch=0, step=step, rows=4, seconds=1.0, metrics={}
    )


@pytest.mark.parametrize(
    ("attempts", "limits"),
    [
        pytest.param([], {}, id="no attempt"),
        pytest.param([link(1, None, 0)], {1: None}, id="one attempt"),
        pytest.param([link(1, None, 0), link(2, 1, 40)], {1: 40, 2: None}, id="a restart"),
        pytest.param(
            [link(1, None, 0), link(2, 1, 40), link(3, 1, 40)],
            {1: 40, 3: None},
            id="an attempt without a checkpoint is passed over",
        ),
        pytest.param(
            [link(1, None, 0), link(2, 1, 40), link(3, 2, 40)],
            {1: 40, 2: 40, 3: None},
            id="an attempt without a checkpoint as a parent",
        ),
        pytest.param(
            [link(1, None, 0), link(2, 1, 80), link(3, 1, 40)],
            {1: 40, 3: None},
            id="a later attempt goes further back",
        ),
        pytest.param(
            [link(1, None, 0), link(2, 1, 80), link(3, 2, 40)],
            {1: 40, 2: 40, 3: None},
            id="further back than the parent began",
        ),
        pytest.param(
            [link(1, None, 0), link(2, 1, 80), link(3, None, 0)],
            {3: None},
            id="begun anew",
        ),
        pytest.param([link(2, 1, 40), link(1, None, 0)], {1: 40, 2: None}, id="any order"),
    ],
)
def test_the_line_of_parents_decides_how_far_an_attempt_counts(
    attempts: list[AttemptLink], limits: dict[int, int | None]
) -> None:
    assert last_effective_steps(attempts) == limits


@pytest.mark.parametrize(
    ("attempts", "message"),
    [
        ([link(2, 1, 40)], "attempt 2: parent 1 is no earlier attempt"),
        ([link(1, 1, 40)], "attempt 1: parent 1 is no earlier attempt"),
        ([link(1, 2, 0), link(2, 1, 0)], "attempt 1: parent 2 is no earlier attempt"),
    ],
)
def test_a_line_of_parents_that_leads_nowhere_is_refused(
    attempts: list[AttemptLink], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        effective_records([], attempts)


def test_steps_that_were_done_again_count_once() -> None:
    first: list[Record] = [
        train(1, 10),
        train(1, 20),
        validation(1, 20),
        train(1, 30),
        validation(1, 30),
    ]
    second: list[Record] = [train(2, 30), validation(2, 30), train(2, 40)]
    attempts = [link(1, None, 0), link(2, 1, 20)]
    assert effective_records([*first, *second], attempts) == [*first[:3], *second]


def test_a_shorter_newest_attempt_wins_over_a_longer_older_one() -> None:
    records = [train(1, 10), train(1, 90), train(2, 20)]
    attempts = [link(1, None, 0), link(2, 1, 10)]
    assert effective_records(records, attempts) == [train(1, 10), train(2, 20)]


def test_workers_that_outlive_their_attempt_do_not_count() -> None:
    records = [train(1, 10), train(2, 20), train(1, 20), train(1, 30)]
    attempts = [link(1, None, 0), link(2, 1, 10)]
    assert effective_records(records, attempts) == [train(1, 10), train(2, 20)]


def test_a_checkpoint_that_is_validated_again_counts_once() -> None:
    records: list[Record] = [train(1, 10), validation(1, 10), validation(2, 10), train(2, 20)]
    attempts = [link(1, None, 0), link(2, 1, 10)]
    assert effective_records(records, attempts) == [train(1, 10), validation(2, 10), train(2, 20)]


def test_a_step_is_trained_before_it_is_validated() -> None:
    records: list[Record] = [validation(1, 10), train(1, 10)]
    assert effective_records(records, [link(1, None, 0)]) == [train(1, 10), validation(1, 10)]


def test_records_of_an_unknown_attempt_do_not_count() -> None:
    assert effective_records([train(7, 10)], [link(1, None, 0)]) == []


@given(kills=st.lists(st.tuples(st.integers(1, 30), st.integers(0, 30)), max_size=6))
def test_every_step_counts_exactly_once_whatever_was_killed(kills: list[tuple[int, int]]) -> None:
    """Each kill: how many steps the attempt did, and how many of all of them were lost."""
    attempts, records = [link(1, None, 0)], []
    for done, lost in kills:
        newest = attempts[-1]
        last = newest.start_step + done
        records += [train(newest.attempt, s) for s in range(newest.start_step + 1, last + 1)]
        saved = max(0, last - lost)
        # Whoever holds the state of that step in the line of parents is the parent.
        holder = newest
        while holder.parent is not None and holder.start_step >= saved:
            holder = attempts[holder.parent - 1]
        attempts.append(link(newest.attempt + 1, holder.attempt, saved))
    newest = attempts[-1]
    records += [train(newest.attempt, s) for s in range(newest.start_step + 1, 201)]
    assert [record.step for record in effective_records(records, attempts)] == list(range(1, 201))
