"""A task whose workers may not write large files from some step on, as on a disk that fills up."""

import resource

from torch import Tensor, nn

from tests.support.task import SmallTask


class LimitedTask(SmallTask):
    """Args: the step from which on a file may have `most` bytes, and those of SmallTask.

    A limit of the process itself stands for the full disk: nothing has to be mounted for it, and
    no other process runs into it.
    """

    def __init__(self, full_from: int = 0, most: int = 32768, step_s: float = 0.0) -> None:
        super().__init__(step_s=step_s)
        self._left = full_from or None
        self._most = most

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        if model.training and self._left is not None:
            self._left -= 1
            if self._left == 0:
                _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
                resource.setrlimit(resource.RLIMIT_FSIZE, (self._most, hard))
        return super().loss(model, batch)
