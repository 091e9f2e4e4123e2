"""The exported model loads anywhere, and is the old one or the new one, never a part."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, load_model
from torch import nn

from orchestrator.checkpoint.manifest import CheckpointInfo, Manifest
from orchestrator.errors import CheckpointError
from orchestrator.export.manifest import read_manifest
from orchestrator.run import export
from orchestrator.run.export import export_model
from orchestrator.train.parts import ObjectPart
from orchestrator.train.state import TrainState
from tests.support.training import CPU, ConvTask, make_state, strategy_of


class TiedTask(ConvTask):
    """Two layers with the same weights, and a view as a buffer."""

    def build_model(self) -> nn.Module:
        model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
        model[1].weight = model[0].weight
        model.register_buffer("diagonal", torch.arange(16.0).reshape(4, 4).t())
        return model


def checkpoint(folder: Path, *, step: int = 8, task: ConvTask | None = None) -> CheckpointInfo:
    """A checkpoint of a fresh model, with its step in the first weight."""
    path = folder / f"step-{step:09d}-001"
    path.mkdir(parents=True)
    state = make_state(task or ConvTask(norm=True))
    with torch.no_grad():
        next(iter(strategy_of(state).model.parameters())).fill_(float(step))
    state.write(path)
    return CheckpointInfo(path=path, manifest=manifest_of(path.name, step))


def manifest_of(name: str, step: int) -> Manifest:
    return Manifest(
        name=name,
        attempt=1,
        step=step,
        cursor={"epoch": 0, "step": step},
        metrics={},
        order_fingerprint="f",
        parts={},
        versions={},
    )


def first_weight(target: Path) -> float:
    return float(load_file(target / "model.safetensors")["0.weight"].flatten()[0])


def test_the_weights_load_into_a_model_of_their_own(tmp_path: Path) -> None:
    export_model(checkpoint(tmp_path), tmp_path / "model", job=tmp_path / "job.yaml")
    model = ConvTask(norm=True).build_model()
    missing, unexpected = load_model(model, tmp_path / "model" / "model.safetensors")
    assert (missing, unexpected) == (set(), [])
    assert set(model[0].weight.flatten().tolist()) == {8.0}
    with safe_open(tmp_path / "model" / "model.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_what_the_transforms_were_fitted_to_lies_beside_the_weights(tmp_path: Path) -> None:
    chosen = checkpoint(tmp_path)
    (chosen.path / "preprocessing.json").write_text("fitted")
    export_model(chosen, tmp_path / "model", job=tmp_path / "job.yaml")
    assert (tmp_path / "model" / "preprocessing.json").read_text() == "fitted"


def test_the_export_says_where_it_comes_from(tmp_path: Path) -> None:
    export_model(checkpoint(tmp_path), tmp_path / "model", job=tmp_path / "job.yaml")
    origin = read_manifest(tmp_path / "model")
    assert (origin.checkpoint, origin.step) == ("step-000000008-001", 8)


def test_tied_weights_and_views_are_exported(tmp_path: Path) -> None:
    export_model(
        checkpoint(tmp_path, task=TiedTask()), tmp_path / "model", job=tmp_path / "job.yaml"
    )
    weights = load_file(tmp_path / "model" / "model.safetensors")
    assert torch.equal(weights["0.weight"], weights["1.weight"])
    assert torch.equal(weights["diagonal"], torch.arange(16.0).reshape(4, 4).t())


def test_what_was_exported_is_not_exported_again(tmp_path: Path) -> None:
    info = checkpoint(tmp_path)
    export_model(info, tmp_path / "model", job=tmp_path / "job.yaml")
    (tmp_path / "model" / "note.txt").write_text("mine")
    export_model(info, tmp_path / "model", job=tmp_path / "job.yaml")
    assert (tmp_path / "model" / "note.txt").exists()


def test_a_newer_checkpoint_replaces_the_model_as_a_whole(tmp_path: Path) -> None:
    export_model(checkpoint(tmp_path, step=8), tmp_path / "model", job=tmp_path / "job.yaml")
    (tmp_path / "model" / "note.txt").write_text("of the old model")
    export_model(checkpoint(tmp_path, step=16), tmp_path / "model", job=tmp_path / "job.yaml")
    assert first_weight(tmp_path / "model") == 16.0
    names = sorted(path.name for path in (tmp_path / "model").iterdir())
    assert names == ["export.json", "model.safetensors"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


class KilledError(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("moment", ["save", "sync_tree", "old model"])
def test_an_interrupted_export_leaves_the_old_model_and_can_be_repeated(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "model"
    export_model(checkpoint(tmp_path, step=8), target, job=tmp_path / "job.yaml")
    newer = checkpoint(tmp_path, step=16)

    def killed(*args: object, **keywords: object) -> None:
        raise KilledError

    with monkeypatch.context() as patched:
        if moment == "old model":  # the new one has just been put in its place
            patched.setattr(shutil, "rmtree", killed)
        else:
            patched.setattr(export, "_save" if moment == "save" else moment, killed)
        with pytest.raises(KilledError):
            export_model(newer, target, job=tmp_path / "job.yaml")
    assert first_weight(target) == (16.0 if moment == "old model" else 8.0)
    export_model(newer, target, job=tmp_path / "job.yaml")
    export_model(checkpoint(tmp_path, step=24), target, job=tmp_path / "job.yaml")
    assert first_weight(target) == 24.0
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("origin", ["", "{", "[]", "null"])
def test_a_half_written_export_is_written_again(origin: str, tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "export.json").write_text(origin)
    export_model(checkpoint(tmp_path), target, job=tmp_path / "job.yaml")
    assert first_weight(target) == 8.0


def test_a_folder_that_cannot_be_written_is_a_checkpoint_error(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file in the way")
    with pytest.raises(CheckpointError, match=r"cannot write .*run/model"):
        export_model(checkpoint(tmp_path), tmp_path / "run" / "model", job=tmp_path / "job.yaml")


class Weights:
    """A part of an own loop that is no module."""

    def __init__(self, **state: object) -> None:
        self._state = state

    def state_dict(self) -> dict[str, Any]:
        return self._state

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def loop_checkpoint(folder: Path, **parts: Weights) -> CheckpointInfo:
    info = checkpoint(folder)
    TrainState(
        device=CPU, parts={name: ObjectPart(content) for name, content in parts.items()}
    ).write(info.path)
    return info


def test_of_a_loop_without_a_model_each_part_that_is_all_tensors_is_exported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    info = loop_checkpoint(
        tmp_path,
        actor=Weights(a=torch.ones(2)),
        critic=Weights(b=torch.zeros(3)),
        optimizer=Weights(state={}, param_groups=[]),
        counter=Weights(n=3),
        nothing=Weights(),
    )
    export_model(info, tmp_path / "model", job=tmp_path / "job.yaml")
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert names == {"actor.safetensors", "critic.safetensors", "export.json"}
    assert load_file(tmp_path / "model" / "critic.safetensors")["b"].tolist() == [0.0] * 3
    assert not caplog.text


def test_of_a_loop_without_weights_nothing_is_exported_and_it_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    info = loop_checkpoint(tmp_path, counter=Weights(n=3))
    export_model(info, tmp_path / "model", job=tmp_path / "job.yaml")
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"export.json"}
    assert "no weights are exported" in caplog.text
