"""What is asked: the job spec, as data."""

from orchestrator.spec.checkpoint import BestSpec, CheckpointSpec
from orchestrator.spec.dataset import (
    DatasetSpec,
    FragmentShuffle,
    NoShuffle,
    ShuffleSpec,
    TrainSpec,
    WindowShuffle,
)
from orchestrator.spec.failure import FailureSpec
from orchestrator.spec.job import JobSpec
from orchestrator.spec.runtime import RuntimeSpec
from orchestrator.spec.scaling import PoolSpec, ScalingSpec, ValidationPoolSpec
from orchestrator.spec.source import MixedSourceSpec, MixtureSpec, SourceSpec, WeightsSpec
from orchestrator.spec.training import (
    AdamW,
    Constant,
    Cosine,
    Linear,
    OptimizerSpec,
    ScheduleSpec,
    Sgd,
    TrainingSpec,
)
from orchestrator.spec.transform import TransformSpec

__all__ = [
    "AdamW",
    "BestSpec",
    "CheckpointSpec",
    "Constant",
    "Cosine",
    "DatasetSpec",
    "FailureSpec",
    "FragmentShuffle",
    "JobSpec",
    "Linear",
    "MixedSourceSpec",
    "MixtureSpec",
    "NoShuffle",
    "OptimizerSpec",
    "PoolSpec",
    "RuntimeSpec",
    "ScalingSpec",
    "ScheduleSpec",
    "Sgd",
    "ShuffleSpec",
    "SourceSpec",
    "TrainSpec",
    "TrainingSpec",
    "TransformSpec",
    "ValidationPoolSpec",
    "WeightsSpec",
    "WindowShuffle",
]
