"""What transforms are fitted to, as JSON: the same values for all who read it, or refused."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.data.fitted import FittedState, dump_states, parse_states, to_json
from orchestrator.errors import DataError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
STATES = st.dictionaries(st.text(), VALUES, max_size=4)


@given(STATES)
def test_a_state_is_read_as_it_was_written(state: dict[str, Any]) -> None:
    assert json.loads(to_json(state, name="m:F")) == state


@given(st.lists(st.tuples(st.text(), st.integers(1, 99), STATES), max_size=3))
def test_the_file_gives_the_very_states_again(entries: list[tuple[str, int, Any]]) -> None:
    states = tuple(
        FittedState(use=use, position=position, text=to_json(state, name=use))
        for use, position, state in entries
    )
    assert parse_states(dump_states(states)) == states


def test_the_bits_of_a_number_and_the_order_of_keys_survive() -> None:
    state = {"b": -0.0, "a": [0.1 + 0.2, 5e-324, 2**80], "c": (1, 2)}
    read = json.loads(to_json(state, name="m:F"))
    assert list(read) == ["b", "a", "c"]
    assert math.copysign(1, read["b"]) == -1
    assert (read["a"], read["c"]) == (state["a"], [1, 2])


def nested(depth: int) -> object:
    return {"x": nested(depth - 1)} if depth else 1


CYCLE: list[object] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (None, "fit returned NoneType, wanted a dictionary of JSON values"),
        (np.zeros(2), r"fit returned numpy\.ndarray, wanted a dictionary"),
        ({"m": [1.0, math.nan]}, r"of which state\['m'\]\[1\] is nan; JSON has finite numbers"),
        ({"m": -math.inf}, r"of which state\['m'\] is -inf"),
        ({"m": np.float64("nan")}, r"of which state\['m'\] is nan"),
        ({"m": {"x": np.zeros(2)}}, r"of which state\['m'\]\['x'\] is numpy\.ndarray; wanted text"),
        ({"m": np.int64(3)}, r"of which state\['m'\] is numpy\.int64; wanted text, a number"),
        ({"m": {3: 1}}, r"of which state\['m'\] has the key 3, int; wanted text"),
        ({"m": {1, 2}}, r"of which state\['m'\] is set; wanted"),
        ({"m": b"x"}, r"of which state\['m'\] is bytes; wanted"),
        ({"m": nested(80)}, "more than 50 levels deep"),
        ({"m": CYCLE}, "more than 50 levels deep"),
        ({"m": 10**5000}, "what JSON cannot hold"),
    ],
)
def test_what_json_does_not_have_is_refused_with_its_place(state: object, message: str) -> None:
    with pytest.raises(DataError, match=rf"^transform m:F: {message}|^transform m:F: .*{message}"):
        to_json(state, name="m:F")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"transforms": [1]}', '{"transforms": [{"use": "a"}]}', "\x00"]
)
def test_another_file_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_states(text)
