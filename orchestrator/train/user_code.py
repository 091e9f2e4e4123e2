"""Around every call of the user's code: an error is told with its place in that code."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist

from orchestrator.errors import DataError, JobFailedError, OrchestratorError
from orchestrator.symbols import user_trace
from orchestrator.train.batch import MissingColumnError

# What a RuntimeError says when it was not the user's code: a lost neighbour, or the device.
_PASSING = ("gloo", "NCCL", "nccl", "CUDA error", "Socket", "Connection")


class MisuseError(Exception):
    """The user's code calls ours in a way that cannot be; told with its place in that code."""


@contextmanager
def user_code(name: str, *, field: str, root: Path) -> Iterator[None]:
    """Turns what user code raises into one message; what another attempt may mend passes.

    Args:
        name: what is called, as the message names it ("pkg:Task.loss").
        field: the field of the spec that names it.

    Raises:
        DataError: it asks for a column that is not there.
        JobFailedError: it raised anything else that another attempt would give again.
    """
    try:
        yield
    except OrchestratorError:
        raise
    except MissingColumnError as error:
        trace = user_trace(error, root)
        raise DataError(f"{field}: {name} asks for {error}{trace}") from error
    except MisuseError as error:
        raise JobFailedError(f"{field}: {name}: {error}{user_trace(error, root)}") from error
    except Exception as error:  # the user's code may raise anything; it is named, passed on
        if _may_pass(error):
            raise
        raise JobFailedError(
            f"{name} failed: {type(error).__name__}: {error}{user_trace(error, root)}"
        ) from error


def _may_pass(error: Exception) -> bool:
    """Whether another attempt may fare better: a neighbour, the storage or the device failed."""
    if isinstance(error, OSError | MemoryError | torch.OutOfMemoryError | dist.DistError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _PASSING)
