"""Bad rows without Ray: found, left out of the order, the same rows for any number of workers."""

import json
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.data import sieve, transient
from orchestrator.data.checking import CheckStage, CheckTask, joined
from orchestrator.data.fitting import MeasureStage, MeasureTask
from orchestrator.data.parquet_index import index_parquet
from orchestrator.data.quarantine_file import BadRow
from orchestrator.data.sieve import pieces_of
from orchestrator.data.transient import is_outside
from orchestrator.errors import DataError, PlanError
from orchestrator.plan.fitted import measured_windows
from orchestrator.plan.index import DatasetIndex
from orchestrator.plan.job import JobPlan
from orchestrator.plan.origins import Counts
from orchestrator.plan.stream import StreamPlan
from orchestrator.run.changes import check_unchanged
from tests.support.bad_rows import is_bad, spoil_group, write_ids
from tests.support.plans import make_plan, make_spec
from tests.support.runs import ROOT
from tests.support.streams import Batch, blocks_of
from tests.support.streams import run as run_stream

CODE = "tests.support.bad_rows"
CHANGES = "tests.support.row_changes"
ROWS, BATCH = 83, 8
PICKY = f"{CODE}:picky"
KINDS: dict[str, list[object]] = {
    "map": [PICKY],
    "filter": [{"use": f"{CHANGES}:some", "kind": "filter", "with": {"of": 6}}, PICKY],
    "flat_map": [
        PICKY,
        {"use": f"{CHANGES}:copies", "kind": "flat_map"},
        f"{CHANGES}:draw",
    ],
    "pack": [PICKY, {"use": f"{CHANGES}:tokens", "kind": "pack", "length": 6}],
}
SHUFFLES = ["none", "fragments", {"type": "window", "rows": 32}, {"type": "window", "rows": "all"}]
PLACE: list[Path] = []


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    PLACE.append(write_ids(tmp_path_factory.mktemp("bad"), ROWS))
    yield
    PLACE.clear()
    for cached in (index, found_of, whole):
        cached.cache_clear()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transient, "RETRY_PAUSES_S", (0.0, 0.0))
    monkeypatch.setattr(sieve, "_SECOND_LOOK_S", 0.0)


@cache
def index() -> DatasetIndex:
    return index_parquet(["."], root=PLACE[0], columns=None, where="dataset.train")


def plan_of(
    transforms: list[object],
    *,
    shuffle: object = "window",
    of: DatasetIndex | None = None,
    most: object = "50%",
) -> JobPlan:
    spec = make_spec(
        transforms=transforms,
        dataset={"shuffle": shuffle, "on_error": "quarantine", "max_errors": most},
        training={"global_batch_size": BATCH, "epochs": 3},
        scaling={"lanes": BATCH, "superblock_steps": 2},
        runtime={"working_dir": str(ROOT)},
    )
    return make_plan(spec, train=of or index())


def found(plan: JobPlan, *, calls: int = 1) -> tuple[Counts, list[BadRow]]:
    """What the workers of the pass find; each call is made so many times, as after a loss."""
    windows = tuple(range(n, n + 1) for n in range(len(plan.train.index.fragments)))
    task = CheckTask(stream=plan.train, windows=windows, root=ROOT, fitted=())
    stage, told = CheckStage(task), []
    for number in range(len(windows)):
        answers = [
            block["found"][0].as_py()
            for _ in range(calls)
            for block in stage({"id": np.array([number])})
        ]
        assert all(answer == answers[0] for answer in answers)
        told += answers[0]
    return joined(told, rows=plan.train.index.rows)


@cache
def found_of(kind: str) -> tuple[Counts, list[BadRow]]:
    return found(plan_of(KINDS[kind]))


def counted(kind: str, shuffle: object = "window") -> StreamPlan:
    plan = plan_of(KINDS[kind], shuffle=shuffle)
    assert not plan.is_counted
    return plan.counted({"train": found_of(kind)[0]}).train


def run(stream: StreamPlan, workers: int, *, step: int = 0, epochs: int = 2) -> list[Batch]:
    total = epochs * stream.geometry.steps_per_epoch
    return run_stream(stream, workers, step=step, total=total, root=ROOT)


@cache
def whole(kind: str, number: int) -> list[Batch]:
    return run(counted(kind, SHUFFLES[number]), 1)


def bad_of(kind: str) -> list[int]:
    """By the definition of the transforms: what a filter drops, no later one sees."""
    return [row for row in range(ROWS) if is_bad(row) and (kind != "filter" or row % 6)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_bad_rows_are_found_one_by_one_and_the_same_ones_each_time(kind: str) -> None:
    counts, bad = found(plan_of(KINDS[kind]), calls=2)
    assert [row.row for row in bad] == bad_of(kind)
    assert [row.error for row in bad] == [f"ValueError: row {n.row} makes no sense" for n in bad]
    assert {row.stage for row in bad} == {f"transform {PICKY}"}
    assert np.flatnonzero(counts < 0).tolist() == bad_of(kind)
    # Whatever rows are looked at in one call: in other windows, by another worker.
    stream = plan_of(KINDS[kind]).train
    task = CheckTask(
        stream=stream, windows=tuple(measured_windows(stream.index)), root=ROOT, fitted=()
    )
    (block,) = CheckStage(task)({"id": np.array([0])})
    again = joined(block["found"][0].as_py(), rows=ROWS)
    assert again[0].tolist() == counts.tolist()
    assert again[1] == bad


@pytest.mark.parametrize("number", range(len(SHUFFLES)))
@pytest.mark.parametrize("kind", ["map", "filter"])
def test_an_epoch_has_every_other_row_once_in_full_batches(kind: str, number: int) -> None:
    kept = [r for r in range(ROWS) if not is_bad(r) and (kind != "filter" or r % 6)]
    for epoch in range(2):
        batches = [columns for at, _, columns in whole(kind, number) if at == epoch]
        assert Counter(row for columns in batches for row in columns["row"]) == Counter(kept)
        assert {len(columns["row"]) for columns in batches[:-1]} == {BATCH}
        for columns in batches:
            assert columns["id"] == columns["row"] == columns["seen"]


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    number=st.integers(0, len(SHUFFLES) - 1),
    before=st.integers(1, 8),
    after=st.integers(1, 8),
    data=st.data(),
)
def test_a_run_stopped_anywhere_goes_on_the_same_with_any_workers(
    kind: str, number: int, before: int, after: int, data: st.DataObject
) -> None:
    stream, wanted = counted(kind, SHUFFLES[number]), whole(kind, number)
    step = data.draw(st.integers(0, len(wanted) - 1), label="step")
    first = run(stream, before)[:step] if before != 1 else wanted[:step]
    assert first + run(stream, after, step=step) == wanted


def test_a_spoilt_row_group_is_quarantined_as_a_whole_and_the_rest_is_read(tmp_path: Path) -> None:
    file = write_ids(tmp_path, ROWS) / "a.parquet"
    spoilt = index_parquet([str(tmp_path)], root=tmp_path, columns=None, where="dataset.train")
    spoil_group(file, 2)
    plan = plan_of([PICKY], of=spoilt)
    counts, bad = found(plan, calls=2)
    wanted = [row for row in range(ROWS) if is_bad(row) or 40 <= row < 60]
    assert [row.row for row in bad] == wanted
    assert {row.stage for row in bad if 40 <= row.row < 60} == {"read"}
    assert all("row group 2 cannot be read" in row.error for row in bad if row.stage == "read")
    stream = plan.counted({"train": counts}).train
    rows = [row for _, _, columns in run(stream, 3, epochs=1) for row in columns["row"]]
    assert sorted(map(int, map(str, rows))) == [row for row in range(ROWS) if row not in wanted]


def test_a_single_value_that_cannot_be_read_costs_its_row_alone(tmp_path: Path) -> None:
    texts = [b"fine"] * 30
    texts[11] = b"\xff\xfe"
    values = pa.Array.from_buffers(pa.string(), 30, pa.array(texts, pa.binary()).buffers())
    pq.write_table(pa.table({"text": values}), tmp_path / "a.parquet")
    plan = plan_of([], of=index_parquet(["."], root=tmp_path, columns=None, where="train"))
    counts, bad = found(plan)
    assert [(row.row, row.stage) for row in bad] == [(11, "read")]
    stream = plan.counted({"train": counts}).train
    assert sum(len(columns["row"]) for _, _, columns in run(stream, 2, epochs=1)) == 29


def test_an_image_that_is_cut_is_a_bad_row_though_it_is_an_oserror() -> None:
    _, bad = found(plan_of([f"{CODE}:truncated"]))
    assert [row.row for row in bad] == [7]
    assert bad[0].error == "OSError: image file is truncated (12 bytes not processed)"


def test_an_error_of_a_connection_is_tried_again_and_raised_never_quarantined(
    tmp_path: Path,
) -> None:
    log = tmp_path / "calls"
    plan = plan_of([{"use": f"{CODE}:unreachable", "with": {"log": str(log)}}])
    with pytest.raises(DataError, match=r"unreachable failed on rows.*no image") as caught:
        found(plan)
    assert "no fault of the rows" in str(caught.value.hint)
    assert len(log.read_text()) == 3
    once = {"use": f"{CODE}:unreachable_once", "with": {"log": str(tmp_path / "once")}}
    assert found(plan_of([once]))[1] == []


@pytest.mark.parametrize(
    ("error", "outside"),
    [
        (ValueError("x"), False),
        (OSError("image file is truncated"), False),
        (OSError(5, "Input/output error"), True),
        (FileNotFoundError(2, "No such file"), True),
        (ConnectionResetError(), True),
        (TimeoutError("x"), True),
        (MemoryError(), True),
        (type("ReadTimeout", (OSError,), {"__module__": "requests"})("x"), True),
        (type("UnidentifiedImageError", (OSError,), {"__module__": "PIL"})("x"), False),
    ],
)
def test_what_comes_from_outside_the_row_is_told_from_what_its_bytes_bring_about(
    error: Exception, outside: bool
) -> None:
    assert is_outside(error) is outside
    wrapped = KeyError("x")
    wrapped.__cause__ = error
    assert is_outside(wrapped) is outside


def test_rows_that_fail_only_together_end_the_run() -> None:
    with pytest.raises(DataError, match="rows of two shapes") as caught:
        found(plan_of([f"{CODE}:together"]))
    assert "none of these rows fails alone" in str(caught.value.hint)


def test_a_row_that_fails_only_later_ends_the_run_with_its_name() -> None:
    # By its draw of another epoch: it is not its bytes that are bad.
    plan = plan_of([f"{CODE}:unlucky"], most=0)
    stream = plan.counted({"train": np.ones(ROWS, dtype=np.int32)}).train
    with pytest.raises(DataError, match="unlucky failed on row 5 of epoch 0"):
        list(blocks_of(stream, 1, range(stream.geometry.superblocks_per_epoch), root=ROOT))


def test_too_many_bad_rows_end_the_pass_early_and_say_one_of_them() -> None:
    with pytest.raises(
        DataError, match=r"dataset.max_errors: more than 2 of the 83 rows"
    ) as caught:
        found(plan_of([PICKY], most="3%"))
    assert caught.value.exit_code == 5
    assert "row 4 (" in str(caught.value)
    assert "ValueError: row 4 makes no sense" in str(caught.value)


def test_a_fitted_transform_learns_from_the_good_rows_alone() -> None:
    plan = plan_of([PICKY, f"{CODE}:Mean"])
    task = MeasureTask(
        stream=plan.train,
        number=1,
        windows=tuple(measured_windows(plan.train.index)),
        rows=7,
        root=ROOT,
        fitted=(),
    )
    stage = MeasureStage(task)
    rows = [row for part in stage._sifted(stage._sieve, 0) for row in part]  # type: ignore[arg-type, attr-defined]
    assert rows == [row for row in range(ROWS) if not is_bad(row)]


@pytest.mark.parametrize(
    ("transforms", "message"),
    [
        ([{"use": "a:f", "cpus": 2}], "transform a:f has workers of its own, but with dataset.on_"),
        (
            [{"use": "a:f", "kind": "pack", "length": 8}, "b:g"],
            "transform b:g comes after a:f, which packs: a packed sample",
        ),
    ],
)
def test_what_cannot_be_tried_before_training_is_refused(
    transforms: list[object], message: str
) -> None:
    with pytest.raises(PlanError, match=message):
        plan_of(transforms)


def test_a_run_that_did_not_quarantine_cannot_go_on_as_one_that_does() -> None:
    plan = plan_of([PICKY])
    spec = make_spec(
        transforms=[PICKY],
        training={"global_batch_size": BATCH, "epochs": 3},
        runtime={"working_dir": str(ROOT)},
    )
    with pytest.raises(PlanError, match=r"dataset\.on_error is new"):
        check_unchanged(make_plan(spec, train=index()).fingerprint.parts, plan)


def test_what_decides_which_rows_are_bad_makes_other_counts() -> None:
    keys = {
        make_plan(plan_of([PICKY]).spec, train=index(), code=code).train.counting.key  # type: ignore[union-attr]
        for code in ("0" * 64, "1" * 64)
    }
    assert len(keys) == 2
    few, many = (plan_of([PICKY], most=most).train.counting for most in (30, 40))
    assert few is not None
    assert many is not None
    # Another budget does not.
    assert few.key == many.key


@given(st.sets(st.integers(0, 40)))
def test_places_come_back_from_their_stretches(places: set[int]) -> None:
    ordered = np.array(sorted(places), dtype=np.int64)
    pieces = pieces_of(3, ordered)
    spread = [place for piece in pieces for place in range(piece.start, piece.stop)]
    assert spread == ordered.tolist()
    assert all(a.stop < b.start for a, b in pairwise(pieces))


def test_what_is_listed_has_to_be_what_is_marked() -> None:
    counts = np.array([1, -1], dtype="<i4").tobytes()
    listed = json.dumps([{"row": 0, "stage": "read", "error": "x"}]).encode()
    with pytest.raises(DataError, match="1 are bad and 1 are listed"):
        joined([counts, listed], rows=2)
