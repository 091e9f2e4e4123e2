"""The values of single rows, brought together from all ranks in the order of the rows."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from orchestrator.errors import JobFailedError
from orchestrator.plan.origins import Origins, Rows


class RowValues:
    """What this rank found for its samples of one pass; kept on the CPU."""

    def __init__(self) -> None:
        self._keys: list[Rows] = []
        self._values: dict[str, list[Tensor]] = {}

    def add(self, origins: Origins, pieces: Sequence[Mapping[str, Tensor]]) -> None:
        """Takes the values of a batch, piece after piece; of stand-ins nothing but the names.

        Raises:
            JobFailedError: a value is a mean over rows, out of which no row's own can be had.
        """
        self._keys.append(np.stack([origins.within_rows(), origins.rows]))
        for piece in pieces:
            for name, value in piece.items():
                if value.ndim == 0:
                    raise JobFailedError(
                        f"evaluate returned {name!r} as a scalar; summarise wants one value a row"
                    )
                kept = value.detach() if len(origins) else value.detach()[:0]
                self._values.setdefault(name, []).append(kept.cpu())

    def collect(self) -> dict[str, Tensor] | None:
        """The values of all ranks in the order of the rows, on the first rank; None elsewhere.

        Every rank has to call it.
        """
        own = (
            np.concatenate(self._keys, axis=1),
            {name: torch.cat(values) for name, values in self._values.items()},
        )
        shares = _gathered(own)
        if shares is None:
            return None
        order = torch.from_numpy(np.lexsort(np.concatenate([keys for keys, _ in shares], axis=1)))
        return {name: torch.cat([values[name] for _, values in shares])[order] for name in own[1]}


Share = tuple[Rows, dict[str, Tensor]]


def _gathered(own: Share) -> list[Share] | None:
    """Every rank's share, on the first rank."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return [own]
    shares: list[Share] | None = None
    if dist.get_rank() == 0:
        shares = [own] * dist.get_world_size()
    dist.gather_object(own, shares, dst=0)
    return shares
