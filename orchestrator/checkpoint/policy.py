"""When to save a checkpoint, as values that can be compared and tested."""

from dataclasses import dataclass
from typing import Protocol

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


def _require_positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name}: got {value}, wanted more than 0")
