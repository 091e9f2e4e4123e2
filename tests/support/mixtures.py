"""Mixtures for tests: sources of given fragments, with weights by phase."""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from hypothesis import strategies as st

from orchestrator.plan.index import IndexedSource
from orchestrator.plan.mixture import MixedOrder
from orchestrator.plan.pattern import Weights
from orchestrator.plan.sources import Mixture, Phase

KINDS = {"none": (False, False), "fragments": (True, False), "window": (True, True)}


def make_mixture(fragments: Sequence[int], *phases: tuple[int, Weights]) -> Mixture:
    """Sources s0, s1, ... of so many fragments each."""
    stops = list(accumulate(fragments))
    return Mixture(
        sources=tuple(
            IndexedSource(name=f"s{number}", start=stop - count, stop=stop)
            for number, (stop, count) in enumerate(zip(stops, fragments, strict=True))
        ),
        phases=tuple(Phase(start=start, weights=weights) for start, weights in phases),
    )


def make_mixed_order(
    sources: Sequence[Sequence[int]],
    *phases: tuple[int, Weights],
    kind: str = "window",
    window_rows: int = 10,
    seed: int = 0,
    row_units: int = 1,
) -> MixedOrder:
    """The order of sources whose fragments have these sizes."""
    shuffle_fragments, shuffle_rows = KINDS[kind]
    return MixedOrder(
        np.array([size for sizes in sources for size in sizes], dtype=np.int64),
        mixture=make_mixture([len(sizes) for sizes in sources], *phases),
        window_rows=window_rows,
        seed=seed,
        shuffle_fragments=shuffle_fragments,
        shuffle_rows=shuffle_rows,
        row_units=row_units,
    )


@st.composite
def weights_by_phase(
    draw: st.DrawFn, sources: int, *, until: int = 150
) -> list[tuple[int, Weights]]:
    """One to three phases, any of the weights 0, though not all at once."""
    # Of few different patterns, each of which takes some milliseconds to make.
    weights = st.tuples(*[st.sampled_from([0.0, 0.5, 2.0])] * sources).filter(any)
    starts = sorted(draw(st.sets(st.integers(1, until), max_size=2)))
    return [(start, draw(weights)) for start in (0, *starts)]
