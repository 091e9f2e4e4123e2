"""What is wrong in a user's task is told as one message, with its place in the user's code."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from orchestrator.errors import DataError, JobFailedError
from orchestrator.train.evaluation import Evaluator
from orchestrator.train.passes import ValidationPasses
from orchestrator.train.user_task import GuardedTask
from tests.support.books import shares
from tests.support.training import (
    CPU,
    ConvTask,
    geometry,
    make_state,
    make_stepper,
    share,
    strategy_of,
)

CUTS = geometry(rows=20, batch=8)


def guarded(task: ConvTask) -> GuardedTask:
    return GuardedTask(task, name="pkg:Task", root=Path(__file__).parent)


class Colour(ConvTask):
    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return model(batch["x"])[:, 0] * batch["colour"]


class Named(ConvTask):
    def evaluate(self, model: nn.Module, batch: dict[str, Tensor]) -> Mapping[str, Tensor]:
        return {"name": batch["name"]}


class Lookup(ConvTask):
    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return {"a": batch["x"]}["b"]


def test_a_column_that_the_loss_asks_for_in_vain_is_a_mistake_in_the_data() -> None:
    task = guarded(Colour())
    stepper = make_stepper(task, make_state(ConvTask()), micro_batch_size=3)
    with pytest.raises(DataError) as caught:
        stepper.step(share(CUTS, 0), 0)
    first, second = str(caught.value).splitlines()
    assert first == (
        'training.task: pkg:Task.loss asks for column "colour", which the transforms do not give;'
        " they give id, x, y, name (text)"
    )
    assert "in loss: return model" in second


def test_another_lookup_that_fails_is_an_error_of_the_task() -> None:
    with pytest.raises(JobFailedError, match=r"pkg:Task.loss failed: KeyError: 'b'"):
        make_stepper(guarded(Lookup()), make_state(ConvTask())).step(share(CUTS, 0), 0)


def evaluator(task: ConvTask) -> Evaluator:
    watched = guarded(task)
    return Evaluator(
        watched,
        strategy_of(make_state(ConvTask())),
        ValidationPasses(shares(CUTS, 0, 6), steps=CUTS.steps_per_epoch),
        device=CPU,
        micro_batch_size=None,
        summarise=watched.summarise if watched.summarises else None,
    )


def test_text_that_the_evaluation_asks_for_is_named_as_such() -> None:
    with pytest.raises(DataError, match=r'Task.evaluate asks for column "name", .* but is text'):
        evaluator(Named()).rehearse()


class Summing(ConvTask):
    """A summary that a test decides."""

    def __init__(self, result: Any) -> None:
        super().__init__()
        self._result = result

    def summarise(self, values: Mapping[str, Tensor]) -> Any:
        if callable(self._result):
            return self._result(values)
        return self._result


def test_a_summary_is_the_record_of_the_validation() -> None:
    found = evaluator(Summing(lambda values: {"last": values["id"][-1]})).evaluate()
    assert (found.rows, found.metrics) == (20, {"last": 19.0})


def test_without_a_summary_the_record_is_the_means_and_nothing_is_collected() -> None:
    assert not guarded(ConvTask()).summarises
    found = evaluator(ConvTask()).evaluate()
    assert set(found.metrics) == {"id", "loss"}
    assert found.metrics["id"] == 9.5


def test_the_summary_that_a_task_inherits_is_that_of_the_means() -> None:
    values = {"a": torch.tensor([True, False]), "b": torch.tensor([1, 2])}
    assert ConvTask().summarise(values) == {"a": 0.5, "b": 1.5}


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (0.5, "training.task: pkg:Task.summarise gave a value of type float; wanted a mapping"),
        ({"auc": "high"}, "summarise gave 'auc' of type str; wanted a number"),
        ({"auc": None}, "summarise gave 'auc' of type NoneType; wanted a number"),
        ({"auc": torch.ones(3)}, r"summarise gave 'auc' of shape \[3\]; wanted a single number"),
    ],
)
def test_a_summary_that_is_no_numbers_is_refused(result: object, message: str) -> None:
    for call in (evaluator(Summing(result)).rehearse, evaluator(Summing(result)).evaluate):
        with pytest.raises(JobFailedError, match=message):
            call()


def of_one_class(values: Mapping[str, Tensor]) -> dict[str, float]:
    if len(values["y"] if "y" in values else values["id"]) < 20:
        raise ValueError("only one class is there")
    return {"auc": float("nan")}


def misspelt(values: Mapping[str, Tensor]) -> dict[str, float]:
    return {"auc": float(values["scroe"].mean())}


def test_the_rehearsal_takes_the_names_of_a_summary() -> None:
    assert evaluator(Summing({"auc": float("nan")})).rehearse() == ("auc",)


def test_a_summary_that_fails_for_the_few_rows_of_the_rehearsal_may_be_right_for_all() -> None:
    scoring = evaluator(Summing(of_one_class))
    assert scoring.rehearse() is None
    assert str(scoring.evaluate().metrics["auc"]) == "nan"


def test_a_mistake_in_a_summary_shows_in_the_rehearsal() -> None:
    with pytest.raises(JobFailedError, match=r"pkg:Task.summarise failed: KeyError: 'scroe'") as e:
        evaluator(Summing(misspelt)).rehearse()
    assert "in misspelt" in str(e.value)


class Mean(Summing):
    def evaluate(self, model: nn.Module, batch: dict[str, Tensor]) -> Mapping[str, Tensor]:
        return {"loss": batch["x"].mean()}


def test_a_scalar_is_no_value_for_a_summary() -> None:
    with pytest.raises(JobFailedError, match="'loss' as a scalar; summarise wants one value a row"):
        evaluator(Mean({})).evaluate()
