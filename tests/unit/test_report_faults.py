"""What failures have cost, class by class, from the events of a run."""

from orchestrator.report.faults import FaultCost, fault_costs, in_words
from orchestrator.report.records import Event


def failed(time: float, kind: str, steps: int, seconds: float, *, name: str) -> Event:
    fields = {"class": kind, "steps_lost": steps, "seconds_lost": seconds}
    return Event(time=time, event=name, attempt=1, fields=fields)


def training(time: float) -> Event:
    return Event(time=time, event="training-started", attempt=2)


def test_each_class_sums_up_its_own_failures() -> None:
    events = [
        training(1.0),
        failed(10.0, "worker", 3, 2.5, name="attempt-failed"),
        training(18.0),
        failed(30.0, "driver", 1, 1.0, name="driver-died"),
        # While it was starting again: the time up to here is the driver's.
        failed(34.0, "worker", 0, 0.0, name="attempt-failed"),
        training(40.0),
        Event(time=50.0, event="checkpoint", attempt=2),
        failed(60.0, "bad_data", 4, 5.0, name="attempt-failed"),
    ]
    worker, driver, data = fault_costs(events)
    assert worker == FaultCost(
        kind="worker", count=2, steps_lost=3, seconds_lost=2.5, seconds_down=14.0
    )
    assert (driver.count, driver.steps_lost, driver.seconds_down) == (1, 1, 4.0)
    assert data.seconds_down == 0.0
    assert in_words([driver, data]) == [
        "1 driver: 1 step and 1s of work lost, 4s until training went on",
        "1 bad data: 4 steps and 5s of work lost",
    ]


def replaced(time: float, deaths: int) -> Event:
    return Event(
        time=time,
        event="preprocessing-death",
        attempt=1,
        fields={"class": "preprocessing", "deaths": deaths, "pool": "MapWorker(x)", "nodes": []},
    )


def test_a_worker_that_was_replaced_is_told_and_cost_no_time() -> None:
    events = [training(1.0), replaced(5.0, 1), replaced(9.0, 2)]
    (cost,) = fault_costs(events)
    assert (cost.kind, cost.count, cost.replaced, cost.seconds_down) == ("preprocessing", 0, 3, 0)
    assert in_words([cost]) == ["3 preprocessing: replaced without a restart"]
    lost = failed(10.0, "preprocessing", 1, 2.0, name="attempt-failed")
    # A replacement on the way does not end the time until training goes on.
    (cost,) = fault_costs([*events, lost, replaced(12.0, 1), training(14.0)])
    assert in_words([cost]) == [
        "1 preprocessing: 1 step and 2s of work lost, 4s until training went on, 4 more replaced"
        " without a restart"
    ]


def test_a_run_of_before_these_classes_and_one_without_trouble_cost_nothing() -> None:
    old = Event(time=1.0, event="attempt-failed", attempt=1, fields={"reason": "x"})
    assert fault_costs([]) == fault_costs([old]) == ()
