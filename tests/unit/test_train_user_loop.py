"""A loop is found, and refused before anything runs where it cannot be called."""

import pytest

from orchestrator.errors import SpecError
from orchestrator.train.user_loop import load_loop
from tests.support.loops import train
from tests.support.runs import ROOT


def test_a_loop_is_the_function_itself() -> None:
    assert load_loop("tests.support.loops:train", {"step_s": 1.0}, ROOT) is train


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("ConvTask", {}, "training.loop: tests.support.loops:ConvTask is no function"),
        ("functional", {}, "training.loop: tests.support.loops:functional is no function"),
        ("image_losses", {}, "with a context and training.with: missing a required argument: 'x'"),
        ("train", {"dropuot": 0.1}, "got an unexpected keyword argument 'dropuot'"),
    ],
)
def test_what_cannot_be_called_is_refused(
    name: str, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        load_loop(f"tests.support.loops:{name}", arguments, ROOT)
