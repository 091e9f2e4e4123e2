"""How well scores tell late flights from punctual ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def area_under_curve(scores: Tensor, late: Tensor) -> float:
    """The chance that a late row has a higher score than a punctual one; a tie counts half.

    Counted in whole numbers, so it is exact and does not depend on the order of the rows.

    Raises:
        ValueError: all rows are late, or none is.
    """
    _, group = torch.unique(scores, return_inverse=True)
    groups = int(group.max()) + 1 if len(group) else 0
    num_late = torch.bincount(group[late], minlength=groups)
    num_punctual = torch.bincount(group[~late], minlength=groups)
    pairs = int(num_late.sum()) * int(num_punctual.sum())
    if not pairs:
        raise ValueError(
            f"{int(num_late.sum())} of {len(late)} rows are late; an area under the curve needs"
            " late rows and punctual ones"
        )
    below = num_punctual.cumsum(0) - num_punctual
    twice = int((num_late * (2 * below + num_punctual)).sum())
    return twice / (2 * pairs)
