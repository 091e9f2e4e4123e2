"""Streams whose transforms change the number of rows, without Ray: counted, then read and fed."""

from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.data.blocks import ORIGIN_COLUMNS
from orchestrator.data.counting import CountStage, CountTask
from orchestrator.data.counts_file import StoredCounts, dump_counts, parse_counts
from orchestrator.data.parquet_index import index_parquet
from orchestrator.errors import DataError, PlanError, SpecError
from orchestrator.plan.accounts import EpochOrigins
from orchestrator.plan.fitted import measured_windows
from orchestrator.plan.index import DatasetIndex, join_indexes
from orchestrator.plan.job import JobPlan
from orchestrator.plan.origins import SPAN, Counts
from orchestrator.plan.stream import StreamPlan
from orchestrator.run.changes import check_unchanged
from orchestrator.spec.job import JobSpec
from orchestrator.spec.load import load_job
from tests.support.plans import make_plan, make_spec
from tests.support.runs import ROOT
from tests.support.streams import Batch, blocks_of
from tests.support.streams import run as run_stream

CODE = "tests.support.row_changes"
ROWS = 83
KINDS = {
    "filter": [{"use": f"{CODE}:some", "kind": "filter"}, f"{CODE}:draw"],
    "flat_map": [
        f"{CODE}:some",
        {"use": f"{CODE}:copies", "kind": "flat_map"},
        {"use": f"{CODE}:draw", "cpus": 1},
    ],
    "pack": [
        {"use": f"{CODE}:some", "kind": "filter", "with": {"of": 5}},
        {"use": f"{CODE}:tokens", "kind": "pack", "length": 6},
        f"{CODE}:draw",
    ],
}
KINDS["flat_map"][0] = {"use": f"{CODE}:some", "kind": "filter", "with": {"of": 5}}
SHUFFLES = ["none", "fragments", {"type": "window", "rows": 32}, {"type": "window", "rows": "all"}]
PLACE: list[Path] = []


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """83 numbered rows in fragments of 1 to 20 rows."""
    made = tmp_path_factory.mktemp("counted")
    for name, ids in zip("abc", np.split(np.arange(ROWS), [40, 41]), strict=True):
        pq.write_table(pa.table({"id": ids}), made / f"{name}.parquet", row_group_size=20)
    PLACE.append(made)
    yield made
    PLACE.clear()
    for cached in (index, mixed_index, counts_of, whole):
        cached.cache_clear()


@cache
def index() -> DatasetIndex:
    return index_parquet(["."], root=PLACE[0], columns=None, where="dataset.train")


def job(
    transforms: list[object],
    shuffle: object = "window",
    batch: int = 8,
    train: object = {"paths": "train"},
) -> JobSpec:
    return make_spec(
        transforms=transforms,
        dataset={"train": train, "shuffle": shuffle},
        training={"global_batch_size": batch, "epochs": 3},
        scaling={"lanes": batch, "superblock_steps": 2},
        runtime={"working_dir": str(ROOT)},
    )


def count(plan: JobPlan) -> Counts:
    """What the workers of the pass find, in the order of the data."""
    windows = tuple(measured_windows(plan.train.index))
    stage = CountStage(CountTask(stream=plan.train, windows=windows, root=ROOT, fitted=()))
    found = b""
    for block in stage({"id": np.arange(len(windows))}):
        found += b"".join(block["found"][0].as_py())
    return np.frombuffer(found, dtype=np.int32)


@cache
def counts_of(kind: str) -> Counts:
    return count(make_plan(job(KINDS[kind]), train=index()))


def counted(kind: str, shuffle: object = "window", batch: int = 8) -> StreamPlan:
    plan = make_plan(job(KINDS[kind], shuffle, batch), train=index())
    assert not plan.is_counted
    return plan.counted({"train": counts_of(kind)}).train


def run(stream: StreamPlan, workers: int, *, step: int = 0, epochs: int = 2) -> list[Batch]:
    total = epochs * stream.geometry.steps_per_epoch
    return run_stream(stream, workers, step=step, total=total, root=ROOT)


@cache
def whole(kind: str, number: int) -> list[Batch]:
    return run(counted(kind, SHUFFLES[number]), 1)


def expected(kind: str) -> list[tuple[object, ...]]:
    """Everything that an epoch has to give, by the definition of the transforms."""
    kept = [row for row in range(ROWS) if row % (3 if kind == "filter" else 5)]
    if kind == "filter":
        return [(row,) for row in kept]
    if kind == "flat_map":
        return [(row, part) for row in kept for part in range(row % 4)]
    return [(row, token) for row in kept for token in range(row % 7)]


def found(kind: str, batches: list[Batch], epoch: int) -> list[tuple[object, ...]]:
    of_epoch = [columns for number, _, columns in batches if number == epoch]
    if kind == "filter":
        return [(row,) for columns in of_epoch for row in columns["row"]]
    if kind == "flat_map":
        return [
            pair
            for columns in of_epoch
            for pair in zip(columns["row"], columns["part"], strict=True)
        ]
    return [
        (row, token)
        for columns in of_epoch
        for cell in columns["spans"]
        for row, start, stop in np.frombuffer(cell, SPAN).tolist()  # type: ignore[arg-type]
        for token in range(start, stop)
    ]


@pytest.mark.parametrize("number", range(len(SHUFFLES)))
@pytest.mark.parametrize("kind", KINDS)
def test_an_epoch_has_every_sample_once_and_in_the_order_of_the_plan(
    kind: str, number: int
) -> None:
    stream, batches = counted(kind, SHUFFLES[number]), whole(kind, number)
    assert stream.counting is not None
    order = EpochOrigins(stream.sample_order(), stream.counting.accounts(counts_of(kind)))
    for epoch in range(2):
        assert Counter(found(kind, batches, epoch)) == Counter(expected(kind))
    for epoch, step, columns in batches:
        wanted = order.between(epoch, step * 8, step * 8 + 8)
        for name, values in wanted.columns().items():
            assert columns[ORIGIN_COLUMNS[name].removeprefix("_")] == values.tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_what_comes_with_a_sample_is_what_the_transforms_made_of_it(kind: str) -> None:
    drawn = []
    for epoch, _, columns in whole(kind, 2):
        drawn += [(epoch, value) for value in columns["drawn"]]
        if kind == "pack":
            check_packed(columns)
            continue
        assert columns["id"] == columns["row"]
        if kind == "flat_map":
            assert columns["copy"] == columns["part"]
    # Each sample of each epoch draws for itself.
    assert len({value for _, value in drawn}) == len(drawn)


def check_packed(columns: dict[str, list[object]]) -> None:
    cells = zip(
        columns["spans"], columns["token"], columns["negative"], columns["segments"], strict=True
    )
    for cell, tokens, negative, segments in cells:
        wanted, numbers = [], []
        for number, (row, start, stop) in enumerate(np.frombuffer(cell, SPAN).tolist(), 1):  # type: ignore[arg-type]
            wanted += [100 * row + 1 + token for token in range(start, stop)]
            numbers += [number] * (stop - start)
        padding = [0] * (6 - len(wanted))
        assert tokens == wanted + padding
        assert negative == [-token for token in wanted] + padding
        assert segments == numbers + padding


@settings(max_examples=30, deadline=None)
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


def test_every_batch_but_an_epochs_last_is_full() -> None:
    for kind in KINDS:
        sizes = [len(columns["row"]) for epoch, _, columns in whole(kind, 2) if epoch == 0]
        assert set(sizes[:-1]) == {8}
        assert 0 < sizes[-1] <= 8


def test_a_filter_that_changes_its_mind_ends_the_run_with_the_rows_named() -> None:
    transforms = [{"use": f"{CODE}:some_by_chance", "kind": "filter"}]
    plan = make_plan(job(transforms), train=index())
    stream = plan.counted({"train": count(plan)}).train
    with pytest.raises(DataError) as caught:
        list(blocks_of(stream, 1, range(2), root=ROOT))
    told = str(caught.value)
    assert f"transform {CODE}:some_by_chance gave other samples on row" in told
    assert ".parquet, " in told
    assert "the first of them gave " in told
    assert "depend on the row alone" in str(caught.value.hint)


def test_rows_of_which_nothing_is_left_are_refused_before_training() -> None:
    plan = make_plan(job([{"use": f"{CODE}:none", "kind": "filter"}]), train=index())
    with pytest.raises(PlanError, match=r"dataset.train: the transforms leave none of its rows"):
        plan.counted({"train": count(plan)})


@pytest.mark.parametrize(
    ("transforms", "message"),
    [
        (
            [{"use": "a:f", "cpus": 2}, {"use": "b:g", "kind": "filter"}],
            r"transform b:g \(filter\) changes the number of rows.*after a:f, which has workers",
        ),
        (
            [{"use": "a:f", "kind": "pack", "length": 8}, {"use": "b:g", "kind": "filter"}],
            r"transform b:g \(filter\) comes after a:f, which packs",
        ),
    ],
)
def test_an_order_of_transforms_that_cannot_be_counted_is_refused(
    transforms: list[object], message: str
) -> None:
    with pytest.raises(PlanError, match=message):
        make_plan(job(transforms))


def test_what_is_not_counted_yet_has_not_changed(tmp_path: Path) -> None:
    spec = job(KINDS["filter"], {"type": "window", "rows": "all"})
    guess = make_plan(spec, train=index())
    parts = guess.counted({"train": counts_of("filter")}).fingerprint.parts
    check_unchanged(parts, guess)
    other = make_plan(job(KINDS["flat_map"]), train=index())
    with pytest.raises(PlanError, match="transform 2"):
        check_unchanged(parts, other)


def test_counts_of_what_was_fitted_on_other_rows_are_other_counts() -> None:
    spec = job(KINDS["filter"])
    use = f"{CODE}:some"
    keys = {
        plan.train.counting.key
        for plan in (
            make_plan(spec, train=index()),
            make_plan(spec, train=index(), fitted={use}),
        )
        if plan.train.counting is not None
    }
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("kind: pack", "transforms.0: kind pack needs length, the tokens of a sample"),
        ("length: 4", "transforms.0.length: is for kind pack, but kind is map"),
        ("kind: filter, cpus: 1", "transforms.0: kind filter is done by the reading pool"),
        ("kind: fliter", 'transforms.0.kind: got "fliter", wanted'),
    ],
)
def test_fields_that_do_not_fit_the_kind_are_refused(
    tmp_path: Path, field: str, message: str
) -> None:
    (tmp_path / "job.yaml").write_text(
        "name: job\ndataset: {train: {paths: t}}\ntraining: {task: 'a:T', epochs: 1,"
        f" global_batch_size: 4}}\ntransforms:\n- {{use: 'a:f', {field}}}\n"
    )
    with pytest.raises(SpecError) as caught:
        load_job(tmp_path / "job.yaml")
    assert "job.yaml:5:" in str(caught.value)
    assert message in str(caught.value)


def test_counts_come_back_from_their_file_and_damage_does_not_pass() -> None:
    stored = StoredCounts(key="k", counts=np.array([0, 3, 1], dtype=np.int32))
    data = dump_counts(stored)
    back = parse_counts(data)
    assert back.counts.tolist() == [0, 3, 1]
    assert back.key == "k"
    longer = data.replace(b'"rows": 3', b'"rows": 4')
    for damaged in (data[:-1], data[:-2] + b"xx", b"", b"{}", longer):
        with pytest.raises(ValueError, match=r"it |Expecting value"):
            parse_counts(damaged)


@cache
def mixed_index() -> DatasetIndex:
    indexes = {
        name: index_parquet(paths, root=PLACE[0], columns=None, where=name)
        for name, paths in {"one": ["a.parquet"], "two": ["b.parquet", "c.parquet"]}.items()
    }
    return join_indexes(indexes, where="dataset.train.sources")


def mixed(kind: str) -> tuple[StreamPlan, Counts]:
    spec = job(
        KINDS[kind],
        {"type": "window", "rows": 16},
        train={
            "type": "mixture",
            "sources": {
                "one": {"paths": "a.parquet", "weight": 3},
                "two": {"paths": "*", "weight": 1},
            },
        },
    )
    plan = make_plan(spec, train=mixed_index())
    counts = count(plan)
    return plan.counted({"train": counts}).train, counts


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_left_of_several_sources_is_mixed_and_resumed(kind: str) -> None:
    stream, counts = mixed(kind)
    assert stream.counting is not None
    epochs, size = 4, stream.geometry.steps_per_epoch
    wanted = run(stream, 1, epochs=epochs)
    order = EpochOrigins(stream.sample_order(), stream.counting.accounts(counts))
    samples: Counter[tuple[object, ...]] = Counter()
    for epoch, step, columns in wanted:
        there = order.between(epoch, step * 8, step * 8 + 8)
        for name, values in there.columns().items():
            assert columns[ORIGIN_COLUMNS[name].removeprefix("_")] == values.tolist()
        found_here = found(kind, [(0, 0, columns)], 0)
        if kind != "pack":
            samples.update(zip(columns["pass"], found_here, strict=True))
    # Of a pass that is over every sample has come, and none has come twice in any.
    assert max(samples.values(), default=1) == 1
    if kind != "pack":
        of_one = {sample for (number, sample), _ in samples.items() if number == 0}
        assert {sample for sample in of_one if sample[0] < 40} == {
            sample for sample in expected(kind) if int(str(sample[0])) < 40
        }
    for step in (1, size - 1, size, 2 * size + 3):
        assert run(stream, 3, step=step, epochs=epochs) == wanted[step:]
