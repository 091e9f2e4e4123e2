"""Measuring without Ray: what the workers of the pass make of its windows."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from ray import cloudpickle

from orchestrator.data.fitted import FittedState
from orchestrator.data.fitting import MeasureStage, MeasureTask
from orchestrator.data.parquet_index import index_parquet
from orchestrator.errors import DataError
from orchestrator.plan.fitted import measured_windows
from orchestrator.plan.job import JobPlan
from tests.support.data import write_rows
from tests.support.plans import make_plan, make_spec
from tests.support.runs import ROOT

CODE = "tests.support.transforms"
ROWS = 120


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Fragments of 25, 25 and 10 rows in each of two files.
    return write_rows(tmp_path_factory.mktemp("fitting") / "rows", ROWS, row_group=25)


def plan(folder: Path, *transforms: object) -> JobPlan:
    spec = make_spec(transforms=list(transforms), runtime={"working_dir": str(ROOT)})
    index = index_parquet([str(folder)], root=ROOT, columns=None, where="dataset.train")
    return make_plan(spec, train=index)


def stage(
    folder: Path,
    *transforms: object,
    windows: tuple[range, ...] = (range(2), range(2, 3), range(3, 6)),
    rows: int = 20,
    fitted: tuple[FittedState, ...] = (),
) -> MeasureStage:
    stream = plan(folder, *transforms).train
    return MeasureStage(
        MeasureTask(
            stream=stream,
            number=len(transforms) - 1,
            windows=windows,
            rows=rows,
            root=ROOT,
            fitted=fitted,
        )
    )


def measured(measure: MeasureStage, number: int) -> list[dict[str, np.ndarray]]:
    (block,) = measure({"id": np.array([number])})
    assert isinstance(block, pa.Table)
    assert block["window"].to_pylist() == [number]
    return [cloudpickle.loads(summary) for summary in block["found"][0].as_py()]


def test_pieces_are_measured_in_the_order_of_the_files(folder: Path) -> None:
    pieces = stage(folder, f"{CODE}:Ids")
    assert [[list(ids) for ids in measured(pieces, number)] for number in range(3)] == [
        [list(range(20)), list(range(20, 40)), list(range(40, 50))],
        [list(range(50, 60))],
        [list(range(60, 80)), list(range(80, 100)), list(range(100, 120))],
    ]


def test_what_is_measured_has_been_through_the_transforms_before(folder: Path) -> None:
    centre = {"use": f"{CODE}:Centre"}
    state = FittedState(use=f"{CODE}:Centre", position=2, text=f'{{"mean": {[7.0] * 8}}}')
    shift = {"use": f"{CODE}:Shift", "with": {"by": 2.0}}
    plain = measured(stage(folder, centre, rows=ROWS), 1)
    moved = measured(stage(folder, shift, centre, centre, rows=ROWS, fitted=(state,)), 1)
    # 10 rows, each of which is shifted by 2 and centred by 7.
    np.testing.assert_allclose(moved[0]["sum"], plain[0]["sum"] - 50, rtol=1e-4)


def test_a_failure_to_measure_names_the_row_and_its_file(folder: Path) -> None:
    with pytest.raises(DataError) as caught:
        measured(stage(folder, f"{CODE}:CannotMeasure"), 2)
    first, *trace = str(caught.value).splitlines()
    assert first == (
        f"transform {CODE}:CannotMeasure: measure failed on row 117 of epoch 0"
        f" ({folder}/part-1.parquet, row 57): ValueError: row 117 has no measure"
    )
    assert " in measure: " in trace[-1]


def test_a_failure_of_a_transform_before_it_is_blamed_on_that_one(folder: Path) -> None:
    broken = stage(folder, f"{CODE}:refuse", f"{CODE}:Centre")
    with pytest.raises(DataError, match=rf"^transform {CODE}:refuse failed on row 17 of epoch 0"):
        measured(broken, 0)


def test_a_summary_that_cannot_travel_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match=r"measure returned a generator that cannot be sent"):
        measured(stage(folder, f"{CODE}:CannotSend"), 0)


def test_a_measure_may_write_into_what_it_gets(folder: Path) -> None:
    spoiling = stage(folder, f"{CODE}:Spoils")
    assert measured(spoiling, 0) == measured(spoiling, 0)


def test_the_whole_data_set_is_one_window_where_it_is_small(folder: Path) -> None:
    assert measured_windows(plan(folder, f"{CODE}:Centre").train.index) == [range(6)]
