"""Whether user code exists and takes what it is given."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from orchestrator.errors import SpecError
from orchestrator.spec import JobSpec
from orchestrator.spec.check import check_symbols

CODE = """\
raise RuntimeError("imported")
from elsewhere import borrowed
def shift(batch, rng, *, pixels, axis=0): ...
def free(batch, **options): ...
class Tokenizer:
    def __init__(self, vocabulary, lower=True): ...
    def __call__(self, batch): ...
class Task:
    def __init__(self, width=8): ...
def train(context, width, rng=0): ...
def idle(): ...
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(CODE, encoding="utf-8")
    return tmp_path


def job(use: str, given: Mapping[str, object], *, task: str = "mine:Task") -> JobSpec:
    return JobSpec.model_validate(
        {
            "name": "job",
            "dataset": {"train": {"paths": "data"}},
            "transforms": [{"use": use, "with": given}],
            "training": {"task": task, "epochs": 1, "global_batch_size": 8},
        }
    )


@pytest.mark.parametrize(
    ("use", "given"),
    [
        ("mine:shift", {"pixels": 2}),
        ("mine:shift", {"pixels": 2, "axis": 1}),
        ("mine:free", {"anything": 1}),
        ("mine:Tokenizer", {"vocabulary": "x"}),
        ("mine:borrowed", {"anything": 1}),
    ],
)
def test_code_that_takes_what_it_is_given_passes_without_being_imported(
    root: Path, use: str, given: Mapping[str, object]
) -> None:
    check_symbols(job(use, given), root)


@pytest.mark.parametrize(
    ("use", "given", "message"),
    [
        ("mine:shift", {"pixels": 2, "axes": 1}, r"transforms.0.with.axes: mine:shift \(.*py:3\)"
         r' does not take it; did you mean "axis"\? it takes pixels, axis$'),
        ("mine:shift", {}, r'^transforms.0.with: missing "pixels", which mine:shift \(.*\) needs$'),
        ("mine:shift", {"pixels": 1, "rng": 3},
         "transforms.0.with.rng: the orchestrator itself gives rng to a transform"),
        ("mine:shift", {"pixels": 1, "batch": 3}, "transforms.0.with.batch: .* does not take it"),
        ("mine:free", {"rng": 3}, "transforms.0.with.rng: the orchestrator itself gives rng"),
        ("mine:Tokenizer", {}, 'missing "vocabulary"'),
        ("mine:Tokenizer", {"vocabulary": 1, "x": 1}, "it takes vocabulary, lower$"),
        ("mine:shfit", {}, 'transforms.0.use: mine:shfit: .* has no "shfit"; did you mean "shift"'),
        ("mien:shift", {}, 'no module "mien": .*; did you mean "mine"'),
    ],
)  # fmt: skip
def test_code_that_does_not_fit_is_named(
    root: Path, use: str, given: Mapping[str, object], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        check_symbols(job(use, given), root)


def test_a_task_is_a_class(root: Path) -> None:
    with pytest.raises(SpecError, match=r"^training.task: mine:free \(.*\) is a function, wanted"):
        check_symbols(job("mine:free", {}, task="mine:free"), root)


def loop(reference: str, **given: object) -> JobSpec:
    return JobSpec.model_validate(
        {
            "name": "job",
            "dataset": {"train": {"paths": "data"}},
            "training": {"loop": reference, "with": given, "epochs": 1, "global_batch_size": 8},
        }
    )


def test_a_loop_gets_the_context_and_what_the_spec_gives(root: Path) -> None:
    check_symbols(loop("mine:train", width=8, rng=3), root)


@pytest.mark.parametrize(
    ("reference", "given", "message"),
    [
        ("mine:Task", {}, r"^training.loop: mine:Task \(.*\) is a class, wanted a function"),
        (
            "mine:idle",
            {},
            r"^training.loop: mine:idle \(.*\) takes no argument, wanted one for the",
        ),
        ("mine:train", {}, '^training.with: missing "width", which mine:train'),
        ("mine:train", {"width": 1, "wdith": 2}, r'training.with.wdith: .* did you mean "width"\?'),
        ("mine:train", {"width": 1, "context": 2}, "training.with.context: .* does not take it"),
    ],
)
def test_a_loop_that_does_not_fit_is_named(
    root: Path, reference: str, given: dict[str, object], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        check_symbols(loop(reference, **given), root)


def test_all_problems_come_at_once_with_their_places(root: Path) -> None:
    with pytest.raises(SpecError, match="3 problems") as caught:
        check_symbols(
            job("mine:shift", {"axes": 1}, task="mine:Tsak"),
            root,
            locate=lambda path: f"place-{len(path)}",
        )
    assert [problem.split(" ")[:2] for problem in caught.value.problems] == [
        ["place-4:", "transforms.0.with.axes:"],
        ["place-3:", "transforms.0.with:"],
        ["place-2:", "training.task:"],
    ]
