"""When to save a checkpoint and which ones to keep, as values that can be compared and tested."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from orchestrator.checkpoint.manifest import CheckpointInfo
from orchestrator.units import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveMoment:
    """The end of a training step, as a save policy sees it.

    Attributes:
        step: Finished steps in the whole run.
        epoch_finished: Whether this step was the last one of its epoch.
        epochs_finished: Finished epochs in the whole run.
        last: Whether training ends with this step.
    """

    step: int
    epoch_finished: bool
    epochs_finished: int
    seconds_since_save: float
    last: bool


class SavePolicy(Protocol):
    """Decides when to save."""

    def should_save(self, moment: SaveMoment) -> bool:
        """Called by the writing rank after each step; must not block."""
        ...


@dataclass(frozen=True, slots=True)
class EverySteps:
    """After each `count` steps of the run."""

    count: int

    def __post_init__(self) -> None:
        _require_positive("count", self.count)

    def should_save(self, moment: SaveMoment) -> bool:
        """Whether this step is a multiple of `count`."""
        return moment.step % self.count == 0


@dataclass(frozen=True, slots=True)
class EveryEpochs:
    """At the end of each `count` epochs."""

    count: int

    def __post_init__(self) -> None:
        _require_positive("count", self.count)

    def should_save(self, moment: SaveMoment) -> bool:
        """Whether this step ends an epoch that is a multiple of `count`."""
        return moment.epoch_finished and moment.epochs_finished % self.count == 0


@dataclass(frozen=True, slots=True)
class EverySeconds:
    """When the last save is `seconds` ago."""

    seconds: float

    def __post_init__(self) -> None:
        _require_positive("seconds", self.seconds)

    def should_save(self, moment: SaveMoment) -> bool:
        """Whether the time is up."""
        return moment.seconds_since_save >= self.seconds


@dataclass(frozen=True, slots=True)
class AtEnd:
    """After the last step."""

    def should_save(self, moment: SaveMoment) -> bool:
        """Whether training ends here."""
        return moment.last


@dataclass(frozen=True, slots=True)
class AnyOf:
    """When any of several policies says so."""

    policies: tuple[SavePolicy, ...]

    def should_save(self, moment: SaveMoment) -> bool:
        """Whether one of the policies wants this moment."""
        return any(policy.should_save(moment) for policy in self.policies)


def save_policy(interval: Interval) -> SavePolicy:
    """The policy for a spec's interval; the end of training is always saved."""
    if interval.steps is not None:
        return AnyOf((EverySteps(interval.steps), AtEnd()))
    if interval.epochs is not None:
        return AnyOf((EveryEpochs(interval.epochs), AtEnd()))
    assert interval.seconds is not None, "an interval has exactly one unit"
    return AnyOf((EverySeconds(interval.seconds), AtEnd()))


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


def _newest_first(checkpoints: Sequence[CheckpointInfo]) -> list[CheckpointInfo]:
    return sorted(checkpoints, key=lambda info: info.age_key, reverse=True)


def _require_positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name}: got {value}, wanted more than 0")
