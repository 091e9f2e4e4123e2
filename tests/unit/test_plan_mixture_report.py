"""A mixture in the plan: what is refused, warned of, shown, and part of the fingerprint."""

import pytest

from orchestrator.errors import PlanError
from orchestrator.plan.fingerprint import differences
from orchestrator.plan.index import IndexedSource, join_indexes
from orchestrator.plan.job import JobPlan
from orchestrator.plan.mixture_report import mixture_progress
from orchestrator.plan.pattern import share_out
from orchestrator.plan.render import render_json, render_text
from orchestrator.plan.sources import Mixture, Phase
from orchestrator.spec.job import JobSpec
from tests.support.plans import make_index, make_plan, make_spec


def mixed_spec(
    weights: dict[str, float], schedule: tuple[tuple[int, dict[str, float]], ...] = ()
) -> JobSpec:
    """Sources of these weights; an epoch has 100 rows, and the run two epochs."""
    return make_spec(
        dataset={
            "train": {
                "sources": {
                    name: {"paths": name, "weight": weight} for name, weight in weights.items()
                },
                "schedule": [{"from": start, "weights": changed} for start, changed in schedule],
            }
        }
    )


def mixed_plan(
    weights: dict[str, float] | None = None,
    *schedule: tuple[int, dict[str, float]],
    sizes: dict[str, tuple[int, ...]] | None = None,
    row_bytes: dict[str, int] | None = None,
) -> JobPlan:
    weights = weights or {"web": 0.7, "code": 0.3}
    sizes = sizes or {"web": (40, 20), "code": (40,)}
    indexes = {
        name: make_index(
            sizes[name], folder=f"/data/{name}", row_bytes=(row_bytes or {}).get(name, 8)
        )
        for name in weights
    }
    train = join_indexes(indexes, where="dataset.train.sources")
    return make_plan(mixed_spec(weights, schedule), train=train)


def topic(plan: JobPlan, label: str) -> list[str]:
    """The lines of a topic."""
    lines = render_text(plan).splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith(f"  {label} "))
    found = [lines[first][18:]]
    for line in lines[first + 1 :]:
        if line[2:17].strip():
            break
        found.append(line[18:])
    return found


def test_the_plan_says_how_often_the_run_goes_through_each_source() -> None:
    plan = mixed_plan({"web": 7, "code": 3}, (150, {"web": 0, "code": 1}))
    assert topic(plan, "mixture") == [
        "web   0.7 of 60 rows: 1.75 passes",
        "code  0.3 of 40 rows: 2.375 passes",
        "from row 150 on: web 0, code 1",
    ]
    assert render_json(plan)["mixture"] == {
        "sources": [
            {"name": "web", "rows": 60, "samples": 105, "passes": 1.75},
            {"name": "code", "rows": 40, "samples": 95, "passes": 2.375},
        ],
        "weights": [
            {"from": 0, "shares": {"web": pytest.approx(0.7), "code": pytest.approx(0.3)}},
            {"from": 150, "shares": {"web": 0.0, "code": 1.0}},
        ],
    }
    (order,) = topic(plan, "order")
    assert order == "fragments and rows shuffled anew in every pass over each source, seed 7"
    assert plan.warnings == ()


def test_one_source_is_no_mixture() -> None:
    plan = make_plan()
    assert render_json(plan)["mixture"] is None
    assert "mixture" not in render_text(plan)
    assert mixture_progress(plan.train, 5) == ()


@pytest.mark.parametrize("steps", [0, 1, 8, 9, 10, 17, 18])
def test_progress_after_a_step_counts_the_short_batch_of_each_epoch(steps: int) -> None:
    # Epochs of 100 rows in 8 batches of 12 and one of 4.
    progress = mixture_progress(mixed_plan().train, steps)
    epochs, rest = divmod(steps, 9)
    assert sum(source.samples for source in progress) == epochs * 100 + rest * 12


@pytest.mark.parametrize(
    ("weights", "schedule", "told"),
    [
        (
            {"web": 1.0, "code": 1e-5},
            (),
            "dataset.train.sources.code.weight is 1e-05, less than 1/65536 of all weights together"
            " (1.00001); 0 takes the source out",
        ),
        (
            {"web": 1.0, "code": 1.0},
            ((10, {"web": 5, "code": 0.5}), (50, {"web": 1e-9, "code": 2})),
            "dataset.train.schedule.1.weights.web is 1e-09, less than 1/65536 of all weights"
            " together (2); 0 takes the source out",
        ),
    ],
)
def test_a_weight_without_a_place_in_the_pattern_is_refused(
    weights: dict[str, float], schedule: tuple[tuple[int, dict[str, float]], ...], told: str
) -> None:
    with pytest.raises(PlanError) as caught:
        mixed_plan(weights, *schedule)
    assert str(caught.value) == told


def test_the_smallest_weight_that_has_a_place_is_planned() -> None:
    assert mixed_plan({"web": 65535.0, "code": 1.0}, (5, {"web": 1, "code": 1})).warnings == ()


def test_a_small_source_that_comes_again_and_again_is_a_warning() -> None:
    plan = mixed_plan(sizes={"web": (95,), "code": (5,)})
    assert plan.warnings == (
        "dataset.train.sources.code has only 5 rows for its weight: the run makes 12 passes over"
        " it in 2 epochs",
    )


def test_many_passes_in_many_epochs_are_no_warning() -> None:
    progress = mixture_progress(mixed_plan().train, 20 * 9)
    assert max(source.passes for source in progress) > 10
    spec = mixed_spec({"web": 0.7, "code": 0.3})
    training = spec.training.model_copy(update={"epochs": 20})
    plan = make_plan(spec.model_copy(update={"training": training}), train=mixed_plan().train.index)
    assert plan.warnings == ()


def test_a_source_whose_turn_never_comes_is_a_warning() -> None:
    plan = mixed_plan({"web": 1, "code": 0}, (200, {"web": 0, "code": 1}))
    assert plan.warnings == (
        "the run ends before dataset.train.sources.code has its turn: no row of it is trained on",
    )


def test_windows_are_as_large_as_the_rows_that_the_weights_choose() -> None:
    def window_bytes(**weights: float) -> int:
        return mixed_plan(weights, row_bytes={"web": 10, "code": 1000}).train.window_bytes

    assert window_bytes(web=1, code=1) == pytest.approx(50_500, abs=1)
    assert window_bytes(web=0.9, code=0.1) == pytest.approx(10_900, abs=1)
    schedule = (50, {"web": 0.1, "code": 0.9})
    plan = mixed_plan({"web": 0.9, "code": 0.1}, schedule, row_bytes={"web": 10, "code": 1000})
    assert plan.train.window_bytes == pytest.approx(90_100, abs=1)


def lines(old: JobPlan, new: JobPlan) -> list[str]:
    return list(differences(old.fingerprint.parts, new.fingerprint.parts).values())


def test_other_weights_positions_and_names_are_another_order_and_named() -> None:
    plan = mixed_plan(None, (50, {"web": 1, "code": 1}))
    same = mixed_plan({"web": 7, "code": 3}, (50, {"web": 2, "code": 2}))
    assert lines(plan, same) == []
    assert lines(plan, mixed_plan({"web": 6, "code": 4}, (50, {"web": 1, "code": 1}))) == [
        "weights from row 0 was web 0.7, code 0.3, is now web 0.6, code 0.4"
    ]
    assert lines(plan, mixed_plan(None, (51, {"web": 1, "code": 1}))) == [
        "weights from row 50 is gone",
        "weights from row 51 is new",
    ]
    assert lines(plan, mixed_plan(None)) == ["weights from row 50 is gone"]


def test_rows_that_go_to_another_source_are_another_order() -> None:
    sizes = {"web": (40,), "code": (20, 40)}
    assert "sources was web: 60 rows, code: 40 rows, is now web: 40 rows, code: 60 rows" in lines(
        mixed_plan(), mixed_plan(sizes=sizes)
    )


def test_weights_that_differ_in_the_last_digits_are_another_order() -> None:
    # They give a slot to another source, and so every later position to another row.
    thirds, ones = (
        Mixture(
            sources=tuple(
                IndexedSource(name=name, start=number, stop=number + 1)
                for number, name in enumerate("abc")
            ),
            phases=(Phase(start=0, weights=weights),),
        )
        for weights in ((0.33333333333, 0.33333333333, 0.33333333334), (1.0, 1.0, 1.0))
    )
    assert share_out(thirds.phases[0].weights) != share_out(ones.phases[0].weights)
    assert thirds.told(thirds.phases[0]) != ones.told(ones.phases[0])
