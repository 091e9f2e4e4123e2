"""docs/shuffling.md shows what its command prints, and the figures mean what it says of them."""

import numpy as np
import pytest

from benchmarks.shuffle_picture import picture
from benchmarks.shuffle_quality import SHUFFLES, Quality, measure, table
from tests.support.docs import ROOT

ROWS, BATCH, FRAGMENT = 10_000, 100, 1_000


def test_the_page_has_the_table_that_its_command_prints() -> None:
    assert table() in (ROOT / "docs" / "shuffling.md").read_text(encoding="utf-8")


def test_the_picture_is_the_one_that_its_command_draws() -> None:
    assert (ROOT / "docs" / "pictures" / "shuffles.svg").read_text(encoding="utf-8") == picture()


def quality_of(order: np.ndarray) -> Quality:
    return Quality(order=order, batch=BATCH, fragment=FRAGMENT, read_amplification=1.0)


def test_rows_in_their_order_stay_where_they_are_and_do_not_mix() -> None:
    quality = quality_of(np.arange(ROWS))
    assert quality.displacement.max() == 0
    assert quality.fragments == 1
    assert quality.entropy == 0
    # As far from one another as the means of batches can be.
    assert quality.spread == pytest.approx(BATCH**0.5, rel=0.01)


def test_a_random_order_is_what_the_figures_are_measured_by() -> None:
    quality = quality_of(np.random.default_rng(3).permutation(ROWS))
    assert quality.displacement.mean() == pytest.approx(1 / 3, abs=0.01)
    assert quality.fragments == pytest.approx(10, abs=0.01)
    assert quality.spread == pytest.approx(1, abs=0.25)
    assert quality.entropy > 0.85


def test_batches_that_draw_evenly_from_all_parts_have_the_most_entropy() -> None:
    one_of_each = np.arange(ROWS).reshape(BATCH, -1).T.ravel()
    assert quality_of(one_of_each).entropy == pytest.approx(1)


def test_a_larger_window_mixes_better_and_reads_less() -> None:
    windows = [measure(shuffle) for shuffle in SHUFFLES if shuffle.kind == "window"]
    assert sorted(quality.entropy for quality in windows) == [q.entropy for q in windows]
    assert sorted(quality.spread for quality in reversed(windows)) == [
        q.spread for q in reversed(windows)
    ]
    assert windows[0].read_amplification > windows[-1].read_amplification == 1
