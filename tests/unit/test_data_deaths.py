"""A worker that dies on the same rows again and again is told as a crash in its transforms."""

from collections.abc import Iterator

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayError, RayTaskError

from orchestrator.data.deaths import named_deaths
from orchestrator.errors import DataError

USES = ["m:f", "m:Fit"]


def blocks(error: Exception) -> Iterator[int]:
    yield 1
    yield 2
    raise error


def unavailable() -> ActorUnavailableError:
    return ActorUnavailableError("socket closed", b"0" * 16)


def through_coordinator(error: Exception) -> RayError:
    made = RayTaskError("get", "traceback", error).as_instanceof_cause()
    assert isinstance(made, RayError)
    return made


@pytest.mark.parametrize("through", [False, True])
def test_a_call_that_was_given_up_names_the_transforms(*, through: bool) -> None:
    error = through_coordinator(unavailable()) if through else unavailable()
    with pytest.raises(DataError, match=r"died 4 times on the same rows, in one of m:f, m:Fit$"):
        list(named_deaths(blocks(error), USES, through_coordinator=through))


def test_without_transforms_it_was_the_reading() -> None:
    with pytest.raises(DataError, match=r"same rows, while it read the files$"):
        list(named_deaths(blocks(unavailable()), [], through_coordinator=False))


def test_the_blocks_before_come_first() -> None:
    given = named_deaths(blocks(unavailable()), USES, through_coordinator=False)
    assert [next(given), next(given)] == [1, 2]


@pytest.mark.parametrize(
    "error",
    [
        # What hands the blocks out has died, or the worker itself cannot be made.
        ActorDiedError(),
        through_coordinator(ValueError("of the user")),
        DataError("of ours"),
    ],
)
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        list(named_deaths(blocks(error), USES, through_coordinator=True))
    assert caught.value is error
