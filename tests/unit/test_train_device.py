"""On which device a worker trains, by what it was given and what torch can use."""

import pytest
import ray.train.torch
import torch

from orchestrator.errors import ClusterError, JobFailedError
from orchestrator.train.device import LOGICAL_GPUS, training_device


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A worker to which Ray gave a GPU, on a machine where torch finds none."""
    monkeypatch.setattr(ray.train.torch, "get_device", lambda: torch.device("cuda", 0))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv(LOGICAL_GPUS, raising=False)
    return monkeypatch


def test_a_gpu_that_torch_cannot_use_is_not_silently_a_cpu(given: pytest.MonkeyPatch) -> None:
    with pytest.raises(ClusterError, match="was given a GPU, and torch cannot use it"):
        training_device("auto")
    assert training_device("cpu").type == "cpu"


def test_a_gpu_of_a_development_cluster_may_be_a_number(given: pytest.MonkeyPatch) -> None:
    given.setenv(LOGICAL_GPUS, "1")
    assert training_device("auto").type == "cpu"
    with pytest.raises(ClusterError, match="torch cannot use it"):
        training_device("cuda")


def test_without_a_gpu_one_is_not_asked_for(given: pytest.MonkeyPatch) -> None:
    given.setattr(ray.train.torch, "get_device", lambda: torch.device("cpu"))
    assert training_device("auto").type == "cpu"
    with pytest.raises(JobFailedError, match="this worker was given no GPU"):
        training_device("cuda")
