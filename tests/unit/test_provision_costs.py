"""What a job would cost: by a measured rate and a table of prices, and never by a guess."""

from pathlib import Path

import pytest

from orchestrator.errors import PlanError
from orchestrator.provision.clouds import AWS
from orchestrator.provision.costs import Costs, costs_of, lines_of, read_prices
from tests.support.plans import make_spec


def costs(rate: float | None) -> Costs:
    prices, source = read_prices("aws", None)
    spec = make_spec(scaling={"workers": 4, "gpus_per_worker": 1, "preprocessing": {"workers": 29}})
    return costs_of(spec, AWS, prices, rows=3_600_000, epochs=2, rate=rate, source=source)


def test_nodes_hours_and_dollars_follow_from_the_spec_the_rate_and_the_prices() -> None:
    found = costs(500.0)
    assert [(node.role, node.count, node.spot) for node in found.nodes] == [
        ("head", 1, False),
        ("preprocessing", 2, True),
        ("training", 4, False),
    ]
    assert found.hours == pytest.approx(2.0)
    # 0.192 + 2 x 0.272 (or 0.68) + 4 x 1.006 dollars an hour.
    assert found.as_json()["dollars"] == pytest.approx({"spot": 9.52, "on_demand": 11.152})
    assert "$9.52 with spot" in "\n".join(lines_of(found))


def test_without_a_measured_run_there_are_no_hours() -> None:
    found = costs(None)
    assert found.as_json()["dollars"] is None
    assert "no hours: no run of this name has been measured" in lines_of(found)[-1]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("gcp: {}", "has no 'aws'"),
        ("aws: {m6i.xlarge: {on_demand: 1}}", "has no 'spot'"),
        ("aws: {m6i.xlarge: {on_demand: cheap, spot: 1}}", 'got "cheap", wanted dollars an hour'),
        ("aws: {m6i.xlarge: {on_demand: -1, spot: 1}}", 'got "-1", wanted dollars an hour'),
        ("aws: [", "is no table of prices"),
        ("- aws", "is no table of prices"),
    ],
)
def test_a_wrong_table_is_told(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text(text)
    with pytest.raises(PlanError) as caught:
        read_prices("aws", file)
    assert told in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_machine_without_a_price_and_a_missing_file_are_told(tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text("aws: {m6i.xlarge: {on_demand: 1, spot: 1}}")
    prices, source = read_prices("aws", file)
    with pytest.raises(PlanError, match=r"no price of c6i\.4xlarge, g5\.xlarge"):
        costs_of(make_spec(), AWS, prices, rows=1, epochs=1, rate=None, source=source)
    with pytest.raises(PlanError, match="cannot be read"):
        read_prices("aws", tmp_path / "missing.yaml")
