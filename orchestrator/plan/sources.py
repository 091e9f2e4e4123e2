"""What is mixed, and how: the sources of a data set with their weights."""

from dataclasses import dataclass

from orchestrator.plan.index import DatasetIndex, IndexedSource
from orchestrator.plan.pattern import Weights, share_out
from orchestrator.spec.dataset import TrainSpec
from orchestrator.spec.source import MixtureSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """The weights that hold from position `start` of the run on, in the order of the sources."""

    start: int
    weights: Weights

    @property
    def shares(self) -> tuple[float, ...]:
        """The weights as parts of 1."""
        # Divided first, since the sum of large weights may be beyond what a float holds.
        largest = max(self.weights)
        scaled = [weight / largest for weight in self.weights]
        return tuple(weight / sum(scaled) for weight in scaled)


@dataclass(frozen=True, kw_only=True, slots=True)
class Mixture:
    """Several sources, which follow each other in the index; the first phase begins at 0."""

    sources: tuple[IndexedSource, ...]
    phases: tuple[Phase, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(source.name for source in self.sources)

    def told(self, phase: Phase) -> str:
        """The shares of a phase in words; the slots too, where these do not follow from them."""
        shares = [f"{share:.10g}" for share in phase.shares]
        text = ", ".join(f"{name} {share}" for name, share in zip(self.names, shares, strict=True))
        slots = share_out(phase.weights)
        follow = slots == share_out(tuple(map(float, shares)))
        return text if follow else f"{text} in slots of {', '.join(map(str, slots))}"


def find_mixture(train: TrainSpec, index: DatasetIndex) -> Mixture | None:
    """What the spec mixes, with the places of its sources in the index; None for one source."""
    if not isinstance(train, MixtureSpec):
        return None
    phases = tuple(Phase(start=start, weights=weights) for start, weights in train.phases)
    return Mixture(sources=index.mixed, phases=phases)


def mixed_bytes_per_row(index: DatasetIndex, mixture: Mixture | None) -> float:
    """Bytes of an average row of the stream, under the weights with the largest rows."""
    if mixture is None:
        return index.bytes_per_row
    sizes = []
    for source in mixture.sources:
        fragments = index.fragments[source.start : source.stop]
        rows = sum(fragment.rows for fragment in fragments)
        sizes.append(sum(fragment.bytes for fragment in fragments) / max(1, rows))
    return max(
        sum(share * size for share, size in zip(phase.shares, sizes, strict=True))
        for phase in mixture.phases
    )
