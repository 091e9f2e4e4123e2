"""One row a flight: what is known of it before take-off, and whether it came late."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# More minutes than this behind the timetable is late.
LATE_MINUTES = 15
MINUTES_PER_DAY = 24 * 60
WEATHER = (
    "temp",
    "dewp",
    "humid",
    "wind_dir",
    "wind_speed",
    "wind_gust",
    "precip",
    "pressure",
    "visib",
)


def make_rows(flights: pa.Table, planes: pa.Table, weather: pa.Table) -> pa.Table:
    """The flights that arrived, in the order of the timetable, with plane and weather.

    A flight that was cancelled or diverted has no arrival to be late at and is left out. The order
    of the package would tell a little of what happened: it goes by the real departure.
    """
    flights = flights.filter(pc.is_valid(flights["arr_delay"]))
    flights = flights.sort_by(
        [(name, "ascending") for name in ("time_hour", "sched_dep_time", "carrier", "flight")]
    )
    columns = timetable(flights) | plane_of(flights, planes) | weather_before(flights, weather)
    return pa.table(columns | {"late": pc.greater(flights["arr_delay"], LATE_MINUTES)})


def timetable(flights: pa.Table) -> dict[str, pa.ChunkedArray]:
    """What the timetable says; times as minutes after midnight, by the clock of the place."""
    departs = minutes_after_midnight(flights["sched_dep_time"])
    arrives = minutes_after_midnight(flights["sched_arr_time"])
    # By the clocks of two places: the difference of their zones is in it, the same for a route.
    takes = (arrives - departs) % MINUTES_PER_DAY
    date = dates(flights["month"], flights["day"])
    # Day 0 of numpy was a Thursday; 1 is Monday.
    weekday = (date.astype(np.int64) + 3) % 7 + 1
    copied = {name: flights[name] for name in ("month", "day", "carrier", "origin", "dest")}
    return copied | {
        "weekday": pa.array(weekday),
        "hour": pa.array(departs // 60),
        "departs": pa.array(departs),
        "arrives": pa.array(arrives),
        "takes": pa.array(takes),
        "distance": flights["distance"],
    }


def minutes_after_midnight(clock: pa.ChunkedArray) -> np.ndarray:
    """Of times such as 1745 for a quarter to six."""
    times = clock.to_numpy()
    minutes: np.ndarray = times // 100 * 60 + times % 100
    return minutes


def dates(month: pa.ChunkedArray, day: pa.ChunkedArray) -> np.ndarray:
    """The dates in 2013, as days."""
    months = np.datetime64("2013-01", "M") + (month.to_numpy() - 1)
    days: np.ndarray = months.astype("datetime64[D]") + (day.to_numpy() - 1)
    return days


def plane_of(flights: pa.Table, planes: pa.Table) -> dict[str, pa.ChunkedArray]:
    """What the register says of the plane; all gaps where it is not in there."""
    found = planes.take(pc.index_in(flights["tailnum"], value_set=planes["tailnum"]))
    return {
        "plane_year": found["year"],
        "manufacturer": found["manufacturer"],
        "engine": found["engine"],
        "seats": found["seats"],
    }


def weather_before(flights: pa.Table, weather: pa.Table) -> dict[str, pa.ChunkedArray]:
    """The observation at the origin one hour before the hour of the scheduled departure.

    That of the same hour may be made after the departure.
    """
    an_hour = pa.scalar(3600, pa.duration("s"))
    wanted = observation_key(flights["origin"], pc.subtract(flights["time_hour"], an_hour))
    made = observation_key(weather["origin"], weather["time_hour"])
    found = weather.take(pc.index_in(wanted, value_set=made))
    return {name: found[name] for name in WEATHER}


def observation_key(origin: pa.ChunkedArray, hour: pa.ChunkedArray) -> pa.ChunkedArray:
    """Airport and hour as one text, to look both up together."""
    seconds = hour.cast(pa.int64()).cast(pa.string())
    return pc.binary_join_element_wise(origin, seconds, " ")
