"""A state comes back bit for bit, only into the model it belongs to, and never as code."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from orchestrator.errors import CheckpointError
from orchestrator.spec.training import AdamW, Sgd
from orchestrator.train.state import STATE_FILE, TrainState
from orchestrator.train.totals import Totals
from tests.support.training import (
    ConvTask,
    digest,
    geometry,
    make_state,
    make_stepper,
    optimizer_of,
    strategy_of,
    train_steps,
)

CUTS = geometry(rows=20, batch=8)


def trained(task: ConvTask, spec: AdamW | Sgd, *, until: int) -> TrainState:
    state = make_state(task, spec=spec)
    train_steps(make_stepper(task, state), state, CUTS, until=until)
    return state


def bits(state: TrainState) -> str:
    return digest(strategy_of(state).state()) + digest(
        optimizer_of(state).optimizer.state_dict()["state"]
    )


@pytest.mark.parametrize("spec", [AdamW(), Sgd(lr=0.1, momentum=0.9)], ids=["adamw", "sgd"])
def test_training_goes_on_from_a_state_as_if_it_had_not_stopped(
    spec: AdamW | Sgd, tmp_path: Path
) -> None:
    task = ConvTask(norm=True, dropout=0.3)
    trained(task, spec, until=4).write(tmp_path)
    state = make_state(task, spec=spec)
    state.read(tmp_path)
    assert (state.step, state.rows) == (4, 8 + 8 + 4 + 8)
    train_steps(make_stepper(task, state), state, CUTS, until=7)
    assert bits(state) == bits(trained(task, spec, until=7))


def test_the_sums_since_the_last_report_come_back(tmp_path: Path) -> None:
    task = ConvTask()
    state = trained(task, Sgd(lr=0.1), until=2)
    state.interval = Totals(
        names=("accuracy", "loss"), sums=torch.tensor([1.0, 1 / 3, 7.0], dtype=torch.float64)
    )
    state.write(tmp_path)
    loaded = make_state(task, spec=Sgd(lr=0.1))
    loaded.read(tmp_path)
    assert loaded.interval is not None
    assert loaded.interval.names == ("accuracy", "loss")
    assert loaded.interval.sums.dtype == torch.float64
    assert loaded.interval.sums.tolist() == [1.0, 1 / 3, 7.0]


def test_right_after_a_report_there_are_no_sums(tmp_path: Path) -> None:
    task = ConvTask()
    state = trained(task, Sgd(lr=0.1), until=1)
    state.interval = None
    state.write(tmp_path)
    loaded = trained(task, Sgd(lr=0.1), until=2)
    loaded.read(tmp_path)
    assert loaded.interval is None


@pytest.mark.parametrize(
    ("task", "spec"),
    [
        pytest.param(ConvTask(width=9), Sgd(lr=0.1), id="another width"),
        pytest.param(ConvTask(norm=True), Sgd(lr=0.1), id="another layer"),
        pytest.param(ConvTask(), AdamW(), id="another optimizer"),
    ],
)
def test_the_state_of_another_model_or_optimizer_is_refused(
    task: ConvTask, spec: AdamW | Sgd, tmp_path: Path
) -> None:
    trained(ConvTask(), Sgd(lr=0.1), until=1).write(tmp_path)
    with pytest.raises(
        CheckpointError, match=r"does not fit the (model|optimizer) of this code"
    ) as caught:
        make_state(task, spec=spec).read(tmp_path)
    assert caught.value.hint is not None


class Bomb:
    """Runs code when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._canary),)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_code_in_a_state_is_refused_and_not_run(how: str, tmp_path: Path) -> None:
    canary, path = tmp_path / "canary", tmp_path / STATE_FILE
    if how == "torch":
        torch.save({"model": Bomb(canary)}, path)
    else:
        path.write_bytes(pickle.dumps({"model": Bomb(canary)}, protocol=2))
    with pytest.raises(CheckpointError, match="holds no state of a run") as caught:
        make_state(ConvTask()).read(tmp_path)
    assert "\n" not in str(caught.value)
    assert not canary.exists()
    # The bomb is a real one.
    if how == "pickle":
        pickle.loads(path.read_bytes())
        assert canary.exists()


def write_torch(path: Path, value: object) -> None:
    torch.save(value, path)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 and then nothing"])
def test_what_is_no_state_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / STATE_FILE).write_bytes(content)
    with pytest.raises(CheckpointError, match="holds no state of a run"):
        make_state(ConvTask()).read(tmp_path)


@pytest.mark.parametrize(
    ("value", "message"),
    [({"parts": {}, "step": 1}, "it lacks interval_names, interval_sums"), ([1], "it is no dict")],
)
def test_other_contents_are_refused(value: object, message: str, tmp_path: Path) -> None:
    write_torch(tmp_path / STATE_FILE, value)
    with pytest.raises(CheckpointError, match=message):
        make_state(ConvTask()).read(tmp_path)


def test_a_state_that_is_not_there_is_a_checkpoint_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot read"):
        make_state(ConvTask()).read(tmp_path)


class Tied(ConvTask):
    """Two layers with the same weights, as language models have."""

    def build_model(self) -> nn.Module:
        model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
        model[1].weight = model[0].weight
        return model

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        return model(batch["x"].flatten(1)[:, :4]).sum(dim=1), {}


def test_tied_weights_stay_tied(tmp_path: Path) -> None:
    trained(Tied(), Sgd(lr=0.1), until=2).write(tmp_path)
    state = make_state(Tied())
    state.read(tmp_path)
    first, second = strategy_of(state).model.children()
    assert first.weight is second.weight


def test_spoilt_weights_and_sums_are_found() -> None:
    state = make_state(ConvTask(norm=True))
    assert (state.loss_is_finite(), state.spoilt()) == (True, None)
    state.interval = Totals(names=("loss",), sums=torch.tensor([float("inf"), 3.0]))
    assert (state.loss_is_finite(), state.spoilt()) == (False, None)
    state.interval = None
    with torch.no_grad():
        next(iter(strategy_of(state).model.parameters()))[0, 0, 0, 0] = float("nan")
    assert (state.loss_is_finite(), state.spoilt()) == (True, "the weight 0.weight")


def test_a_state_of_other_parts_is_refused_by_their_names(tmp_path: Path) -> None:
    state = make_state(ConvTask())
    state.write(tmp_path)
    state.parts["average"] = state.parts.pop("optimizer")
    with pytest.raises(CheckpointError, match="holds model, optimizer, but this code restores mod"):
        state.read(tmp_path)
