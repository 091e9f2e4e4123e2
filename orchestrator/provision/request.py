"""What a development cluster is asked to be."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

from orchestrator.errors import ClusterError
from orchestrator.units import format_duration, parse_duration

DEFAULT_NAME = "local"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
# Every node is some ten processes of this machine.
_MOST_NODES = 64
# Enough for blocks of a development run, and several of them fit into a laptop.
OBJECT_STORE_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Amount:
    """How many nodes of a kind there are at least and at most."""

    least: int
    most: int

    @classmethod
    def parse(cls, text: str, *, option: str) -> Self:
        """Reads "2" or "0..3".

        Raises:
            ClusterError: it is neither.
        """
        found = re.fullmatch(r"(\d{1,4})(?:\.\.(\d{1,4}))?", text)
        least = int(found[1]) if found else 0
        most = int(found[2] or found[1]) if found else -1
        if not least <= most <= _MOST_NODES:
            raise ClusterError(
                f'{option}: got "{text}", wanted a number of nodes such as 2, or with --autoscale'
                f" a range such as 0..3, of at most {_MOST_NODES}"
            )
        return cls(least=least, most=most)

    @property
    def is_range(self) -> bool:
        return self.least < self.most

    def __str__(self) -> str:
        return f"{self.least}..{self.most}" if self.is_range else str(self.least)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterRequest:
    """A cluster of logical nodes on this machine.

    Attributes:
        cpus_per_node: logical CPUs of each node but the head, which has none beside other nodes.
        idle_s: after which time without work an autoscaled node leaves.
    """

    name: str
    cpu_nodes: Amount
    gpu_nodes: Amount
    cpus_per_node: int
    autoscale: bool
    idle_s: float

    @classmethod
    def parse(
        cls,
        *,
        name: str,
        cpu_nodes: str,
        gpu_nodes: str,
        cpus_per_node: str,
        autoscale: bool,
        idle_timeout: str,
    ) -> Self:
        """Reads the options of a command.

        Raises:
            ClusterError: one of them is wrong.
        """
        check_name(name)
        if not re.fullmatch(r"[1-9]\d{0,3}", cpus_per_node):
            raise ClusterError(f'--cpus-per-node: got "{cpus_per_node}", wanted a number from 1 on')
        try:
            idle_s = parse_duration(idle_timeout)
        except ValueError as error:
            raise ClusterError(f"--idle-timeout: {error}") from error
        request = cls(
            name=name,
            cpu_nodes=Amount.parse(cpu_nodes, option="--cpu-nodes"),
            gpu_nodes=Amount.parse(gpu_nodes, option="--gpu-nodes"),
            cpus_per_node=int(cpus_per_node),
            autoscale=autoscale,
            idle_s=idle_s,
        )
        if not autoscale and (request.cpu_nodes.is_range or request.gpu_nodes.is_range):
            raise ClusterError(
                f"got a range of nodes, {request.cpu_nodes} and {request.gpu_nodes},"
                " wanted numbers",
                hint="with --autoscale nodes come and go within a range",
            )
        return request

    def __str__(self) -> str:
        nodes = (
            f"{self.cpu_nodes} CPU nodes and {self.gpu_nodes} GPU nodes"
            f" of {self.cpus_per_node} CPUs"
        )
        idle = f", autoscaled, idle for {format_duration(self.idle_s)} at most"
        return nodes + (idle if self.autoscale else "")

    @property
    def head_cpus(self) -> int:
        """Logical CPUs of the head: none, unless nobody else has any."""
        alone = self.cpu_nodes.most + self.gpu_nodes.most == 0
        return self.cpus_per_node if alone else 0

    def as_record(self) -> Mapping[str, object]:
        """What is written into the cluster's record."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, object]) -> Self:
        """What a cluster was asked to be, by its record.

        Raises:
            ClusterError: the record is of another version, or damaged.
        """
        content = dict(record)
        try:
            amounts = {
                key: Amount(**{k: int(v) for k, v in dict(content.pop(key)).items()})  # type: ignore[call-overload]
                for key in ("cpu_nodes", "gpu_nodes")
            }
            return cls(**amounts, **content)  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError) as error:
            raise ClusterError(
                f"the record does not tell what the cluster was asked to be: {error}",
                hint="orchestrator cluster down, then up",
            ) from error


def check_name(name: str) -> None:
    """Refuses a name that is no file name, or too long for the paths of sockets.

    Raises:
        ClusterError: it is.
    """
    if not _NAME.fullmatch(name):
        raise ClusterError(
            f'--name: got "{name}", wanted 1 to 31 lower-case letters, digits and hyphens,'
            " the first of them no hyphen"
        )
