"""Label selectors: in Ray's words, and with the answers that Ray gives."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray._private.label_utils import validate_label_selector

from orchestrator.labels import check_selector, labels_of, selects
from orchestrator.plan.placement import Bundle, Node, fit_together, fits_alone

CPU = Node(cpus=4, gpus=0, labels=(("role", "preprocessing"),))
GPU = Node(cpus=4, gpus=1, labels=(("role", "training"),))


@pytest.mark.parametrize(
    ("condition", "there", "absent"),
    [
        ("training", True, False),
        ("preprocessing", False, False),
        ("!training", False, True),
        ("!preprocessing", True, True),
        ("in(head, training)", True, False),
        ("in(head,preprocessing)", False, False),
        ("!in(head, training)", False, True),
    ],
)
def test_a_condition_holds_where_ray_says_so(condition: str, there: bool, absent: bool) -> None:
    selector = labels_of({"role": condition})
    assert selects(selector, (("role", "training"),)) is there
    assert selects(selector, (("other", "training"),)) is absent


@given(st.text(alphabet="abZ9!in(), ._-/", max_size=12))
def test_a_condition_that_is_taken_is_one_for_ray(condition: str) -> None:
    try:
        check_selector({"role": condition})
    except ValueError:
        return
    assert validate_label_selector({"role": condition}) is None


@pytest.mark.parametrize("key", ["", "-role", "a b", "ray.io/", "x" * 64])
def test_a_key_that_is_none_is_told(key: str) -> None:
    with pytest.raises(ValueError, match="got the label"):
        check_selector({key: "value"})


def test_a_worker_finds_room_only_where_its_selector_lets_it() -> None:
    training = Bundle(count=1, cpus=4, gpus=0, selector=(("role", "training"),))
    assert fits_alone(training, [CPU, GPU])
    assert not fits_alone(training, [CPU])
    assert not fit_together([training, training], [CPU, GPU])
    free = Bundle(count=1, cpus=4, gpus=0)
    assert fit_together([training, free], [CPU, GPU])
