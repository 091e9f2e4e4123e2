"""Training orchestrator: one job spec, exact streams through Ray Data, training through Ray Train.

The public names are imported when they are first used, so that `import orchestrator` stays cheap:
neither ray nor torch is loaded until something needs it.
"""

import importlib
from typing import TYPE_CHECKING

from orchestrator.version import __version__ as __version__

if TYPE_CHECKING:
    from orchestrator.data.fitted import FittedTransform
    from orchestrator.data.random import RowRandom
    from orchestrator.data.transforms import Transform
    from orchestrator.errors import OrchestratorError
    from orchestrator.run.execute import run_job
    from orchestrator.run.planning import plan_job
    from orchestrator.spec.job import JobSpec
    from orchestrator.spec.load import load_job
    from orchestrator.train.context import TrainContext
    from orchestrator.train.task import TrainTask

__all__ = [
    "FittedTransform",
    "JobSpec",
    "OrchestratorError",
    "RowRandom",
    "TrainContext",
    "TrainTask",
    "Transform",
    "load_job",
    "plan_job",
    "run_job",
]

_HOMES = {
    "FittedTransform": "orchestrator.data.fitted",
    "JobSpec": "orchestrator.spec.job",
    "OrchestratorError": "orchestrator.errors",
    "RowRandom": "orchestrator.data.random",
    "TrainContext": "orchestrator.train.context",
    "TrainTask": "orchestrator.train.task",
    "Transform": "orchestrator.data.transforms",
    "load_job": "orchestrator.spec.load",
    "plan_job": "orchestrator.run.planning",
    "run_job": "orchestrator.run.execute",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
