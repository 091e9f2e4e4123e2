"""Which checkpoints to keep, as values that can be compared and tested."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from orchestrator.checkpoint.manifest import CheckpointInfo
from orchestrator.spec.checkpoint import CheckpointSpec


class RetentionPolicy(Protocol):
    """Decides which checkpoints to keep."""

    def keep(self, checkpoints: Sequence[CheckpointInfo]) -> frozenset[str]:
        """Called after each save: the names to keep, the newest always among them."""
        ...


@dataclass(frozen=True, slots=True)
class LatestN:
    """The newest `count` checkpoints."""

    count: int

    def __post_init__(self) -> None:
        _require_positive("count", self.count)

    def keep(self, checkpoints: Sequence[CheckpointInfo]) -> frozenset[str]:
        """The names of the newest."""
        return frozenset(info.name for info in _newest_first(checkpoints)[: self.count])


@dataclass(frozen=True, slots=True)
class BestN:
    """The `count` checkpoints with the best value of a metric; of equals, the newer.

    A checkpoint without the metric, or with a value that is not finite, is never a best one.
    """

    metric: str
    mode: Literal["min", "max"] = "min"
    count: int = 1

    def __post_init__(self) -> None:
        _require_positive("count", self.count)

    def keep(self, checkpoints: Sequence[CheckpointInfo]) -> frozenset[str]:
        """The names of the best, and of the newest."""
        newest = _newest_first(checkpoints)[:1]
        return frozenset(info.name for info in [*newest, *self.ranked(checkpoints)[: self.count]])

    def ranked(self, checkpoints: Sequence[CheckpointInfo]) -> list[CheckpointInfo]:
        """The checkpoints that have a value, the best first."""
        return sorted(
            (info for info in _newest_first(checkpoints) if math.isfinite(self._value(info))),
            key=self._value,  # The sort is stable in both directions: of equals, the newer.
            reverse=self.mode == "max",
        )

    def _value(self, info: CheckpointInfo) -> float:
        return info.manifest.metrics.get(self.metric, math.nan)


@dataclass(frozen=True, slots=True)
class FirstOfEach:
    """The first checkpoint at or after each multiple of `steps`, for ever; and the newest.

    It need not be saved at a multiple, so that it goes with any rule of when to save.
    """

    steps: int

    def __post_init__(self) -> None:
        _require_positive("steps", self.steps)

    def keep(self, checkpoints: Sequence[CheckpointInfo]) -> frozenset[str]:
        """The names of the first ones, and of the newest."""
        newest_first = _newest_first(checkpoints)
        # The oldest of a span comes last, and so is the one that stays.
        first = {info.manifest.step // self.steps: info for info in newest_first}
        first.pop(0, None)
        return frozenset(info.name for info in [*newest_first[:1], *first.values()])


@dataclass(frozen=True, slots=True)
class AnyOfRetention:
    """Whatever any of several policies keeps."""

    policies: tuple[RetentionPolicy, ...]

    def keep(self, checkpoints: Sequence[CheckpointInfo]) -> frozenset[str]:
        """The names that a policy keeps, and the newest."""
        newest = frozenset(info.name for info in _newest_first(checkpoints)[:1])
        return newest.union(*(policy.keep(checkpoints) for policy in self.policies))


def retention_policy(spec: CheckpointSpec) -> RetentionPolicy:
    """The policy that a spec asks for."""
    rules: list[RetentionPolicy] = [LatestN(spec.keep_latest)]
    if spec.keep_every is not None:
        rules.append(FirstOfEach(spec.keep_every))
    if spec.best is not None:
        best = spec.best
        rules.append(BestN(metric=best.metric, mode=best.mode, count=best.keep))
    return AnyOfRetention(tuple(rules))


def _newest_first(checkpoints: Sequence[CheckpointInfo]) -> list[CheckpointInfo]:
    return sorted(checkpoints, key=lambda info: info.age_key, reverse=True)


def _require_positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name}: got {value}, wanted more than 0")
