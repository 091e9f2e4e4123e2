"""What a job would cost on a cloud: nodes, hours by a measured rate, and a table of prices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from orchestrator.errors import PlanError
from orchestrator.labels import HEAD, PREPROCESSING, TRAINING
from orchestrator.provision.launcher import Machines, preprocessing_nodes, training_nodes
from orchestrator.spec.job import JobSpec

if TYPE_CHECKING:
    from pydantic import JsonValue


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """US dollars an hour of one machine."""

    on_demand: float
    spot: float


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeCost:
    """The nodes of one role; `spot` says whether they may be taken away."""

    role: str
    machine: str
    count: int
    price: Price
    spot: bool

    @property
    def mixed(self) -> float:
        """Dollars an hour as the cluster file has it."""
        return self.count * (self.price.spot if self.spot else self.price.on_demand)

    @property
    def on_demand(self) -> float:
        """Dollars an hour if none may be taken away."""
        return self.count * self.price.on_demand


@dataclass(frozen=True, kw_only=True, slots=True)
class Costs:
    """What a job would cost at the rate of a run that was measured.

    Attributes:
        rate: rows a second, None where no run tells.
        rows: of the whole job.
    """

    nodes: tuple[NodeCost, ...]
    rate: float | None
    rows: int
    epochs: float
    prices: str

    @property
    def hours(self) -> float | None:
        return self.rows / self.rate / 3600 if self.rate else None

    def as_json(self) -> "dict[str, JsonValue]":
        """For a program; dollars."""
        hours = self.hours
        mixed = sum(node.mixed for node in self.nodes)
        on_demand = sum(node.on_demand for node in self.nodes)
        return {
            "nodes": [
                {"role": node.role, "machine": node.machine, "count": node.count, "spot": node.spot}
                for node in self.nodes
            ],
            "rows_per_s": self.rate,
            "hours": hours,
            "prices": self.prices,
            "dollars_per_hour": {"spot": mixed, "on_demand": on_demand},
            "dollars": None
            if hours is None
            else {"spot": hours * mixed, "on_demand": hours * on_demand},
        }


def costs_of(
    spec: JobSpec,
    machines: Machines,
    prices: Mapping[str, Price],
    *,
    rows: int,
    epochs: float,
    rate: float | None,
    source: str,
) -> Costs:
    """The costs of a job with as many nodes as it can use.

    Args:
        rows: that all its epochs train on.
        rate: rows a second of a run like it, None where there is none.
        source: the table of prices, in words.

    Raises:
        PlanError: a machine has no price.
    """
    kinds = [
        (HEAD, machines.head, 1, False),
        (PREPROCESSING, machines.preprocessing, preprocessing_nodes(spec, machines), True),
        (TRAINING, machines.training, training_nodes(spec, machines), False),
    ]
    if missing := [machine.name for _, machine, _, _ in kinds if machine.name not in prices]:
        raise PlanError(f"{source}: no price of {', '.join(missing)}")
    nodes = tuple(
        NodeCost(
            role=role, machine=machine.name, count=count, price=prices[machine.name], spot=spot
        )
        for role, machine, count, spot in kinds
    )
    return Costs(nodes=nodes, rate=rate, rows=rows, epochs=epochs, prices=source)


def read_prices(provider: str, file: Path | None) -> tuple[Mapping[str, Price], str]:
    """The prices of a provider from a file, or from the package's own table; and which that is.

    Raises:
        PlanError: the file cannot be read, is no such table, or has nothing of that provider.
    """
    source = "the package's prices" if file is None else str(file)
    try:
        text = (
            (resources.files("orchestrator.provision") / "prices.yaml").read_text()
            if file is None
            else file.read_text()
        )
        table = yaml.safe_load(text)
        of_provider = table[provider]
        prices = {
            str(machine): Price(
                on_demand=_dollars(price["on_demand"]), spot=_dollars(price["spot"])
            )
            for machine, price in of_provider.items()
        }
    except OSError as error:
        raise PlanError(f"--prices: {file} cannot be read: {error.strerror}") from error
    except KeyError as error:
        raise PlanError(
            f"{source}: has no {error}",
            hint="--prices FILE names a table of your own: docs/cloud.md",
        ) from error
    except (yaml.YAMLError, ValueError, TypeError, AttributeError) as error:
        raise PlanError(f"{source}: is no table of prices: {error}") from error
    return prices, f"{source} of {table.get('as_of', 'an unknown day')}"


def lines_of(costs: Costs) -> Sequence[str]:
    """The costs in lines for people."""
    lines = [
        f"  {node.count:>3} x {node.machine:<16} {node.role:<14}"
        f" ${node.price.on_demand:.3f} an hour, ${node.price.spot:.3f} as spot"
        for node in costs.nodes
    ]
    mixed = sum(node.mixed for node in costs.nodes)
    on_demand = sum(node.on_demand for node in costs.nodes)
    lines.append(f"  ${mixed:.2f} an hour with preprocessing on spot, ${on_demand:.2f} without")
    hours = costs.hours
    if hours is None:
        lines.append(
            "  no hours: no run of this name has been measured in its storage; a run of one epoch"
            " there tells its rate"
        )
        return lines
    each = hours / costs.epochs
    lines += [
        f"  {hours:.3g} hours at the {costs.rate:,.0f} rows/s that the run of this name had where"
        f" it was measured; {each:.3g} an epoch",
        f"  ${hours * mixed:.2f} with spot (${each * mixed:.2f} an epoch),"
        f" ${hours * on_demand:.2f} without (${each * on_demand:.2f} an epoch)",
    ]
    return lines


def _dollars(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ValueError(f'got "{value}", wanted dollars an hour')
    return float(value)
