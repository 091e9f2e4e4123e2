"""How large a checkpoint will be, before the first step has filled the optimizer's state."""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.optim import Optimizer


def state_bytes(model: nn.Module, optimizer: Optimizer) -> int:
    """Bytes of the weights and of the averages that the optimizer will keep; never too many."""
    weights = sum(_bytes(value) for value in model.state_dict().values())
    averages = sum(
        _averages(group) * _bytes(weight)
        for group in optimizer.param_groups
        for weight in group["params"]
        if weight.requires_grad
    )
    return weights + averages


def _averages(group: Mapping[str, object]) -> int:
    """Tensors kept for each weight, by the settings that the optimizers of torch have in common."""
    if "betas" in group:
        return 3 if group.get("amsgrad") else 2
    return 1 if group.get("momentum") else 0


def _bytes(value: object) -> int:
    return value.numel() * value.element_size() if isinstance(value, Tensor) else 0
