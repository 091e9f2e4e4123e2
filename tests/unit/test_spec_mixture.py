"""Mixtures in the spec: what may be written, and what is said of the rest."""

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from orchestrator.errors import SpecError
from orchestrator.spec.dataset import DatasetSpec
from orchestrator.spec.dump import dump_job
from orchestrator.spec.job import JobSpec
from orchestrator.spec.load import load_job
from orchestrator.spec.schema import json_schema
from orchestrator.spec.source import MixtureSpec, SourceSpec
from orchestrator.spec.tree import plain
from orchestrator.spec.yaml_reader import read_yaml_file

HEAD = """\
name: job
training: {task: 'mine:Task', epochs: 1, global_batch_size: 8}
dataset:
  train:
    type: mixture
    sources:
      web: {paths: [web, more], weight: 1}
      code: {paths: code, weight: 0}
"""
SCHEDULE = """\
    schedule:
      - {from: 10, weights: {web: 0.5, code: 0.5}}
"""


def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> JobSpec:
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text(text)
    return load_job(Path("x.yaml"), environ={})


def test_a_mixture_is_read_and_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = load(tmp_path, monkeypatch, HEAD + SCHEDULE)
    train = job.dataset.train
    assert isinstance(train, MixtureSpec)
    assert list(train.sources) == ["web", "code"]
    assert train.sources["web"].paths == ("web", "more")
    assert train.phases == ((0, (1.0, 0.0)), (10, (0.5, 0.5)))
    assert load(tmp_path, monkeypatch, dump_job(job)) == job


def test_weights_of_the_schedule_go_by_name() -> None:
    weights = {"code": 0.2, "web": 0.8}
    mixture = MixtureSpec.model_validate(
        {
            "sources": {name: {"paths": name, "weight": 1} for name in ("web", "code")},
            "schedule": [{"from": 5, "weights": weights}],
        }
    )
    assert mixture.phases[1] == (5, (0.8, 0.2))


def test_sources_make_a_mixture_and_paths_a_source_without_a_word_on_their_type() -> None:
    sources = {"a": {"paths": "data", "weight": 1}}
    mixture = DatasetSpec.model_validate({"train": {"sources": sources}}).train
    assert isinstance(mixture, MixtureSpec)
    source = DatasetSpec.model_validate({"train": {"paths": "data"}}).train
    assert isinstance(source, SourceSpec)
    assert DatasetSpec(train=mixture).train == mixture
    assert DatasetSpec(train=source).train == source


def test_only_training_rows_are_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = HEAD + SCHEDULE + "  validation: {sources: {web: {paths: web, weight: 1}}}\n"
    with pytest.raises(SpecError) as caught:
        load(tmp_path, monkeypatch, text)
    assert "dataset.validation.sources: unknown key" in str(caught.value)


def test_one_setting_changes_one_weight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text(HEAD + SCHEDULE)
    job = load_job(Path("x.yaml"), overrides=["dataset.train.sources.web.weight=3"], environ={})
    assert isinstance(job.dataset.train, MixtureSpec)
    assert job.dataset.train.sources["web"].weight == 3


# What replaces what of HEAD and SCHEDULE, and the whole message.
CASES = [
    ("{paths: code, weight: 0}", "{paths: code}", "x.yaml:8:7: dataset.train.sources.code.weight:"
     " missing; wanted a number of at least 0"),
    ("weight: 0}", "weight: -1}", "x.yaml:8:35: dataset.train.sources.code.weight: got -1, wanted"
     " a number of at least 0"),
    ("weight: 0}", "wieght: 0, weight: 0}", "x.yaml:8:27: dataset.train.sources.code.wieght:"
     ' unknown key; did you mean "weight"? allowed: type, paths, weight'),
    ("code: {paths", "the-code: {paths", "x.yaml:8:7: dataset.train.sources.the-code: the name"
     " 'the-code' of a source is not of 1 to 63 letters, digits and underscores, the first of them"
     " no digit"),
    ("{paths: code, weight: 0}", "3", "x.yaml:8:13: dataset.train.sources.code: got 3, wanted a"
     " mapping with the keys type, paths, weight"),
    ("weight: 1}", "weight: 0}", "x.yaml:6:5: dataset.train.sources: all weights are 0, wanted one"
     " above it"),
    ("weights: {web: 0.5, code: 0.5}", "weights: {web: 0, code: 0}", "x.yaml:10:20:"
     " dataset.train.schedule.0.weights: all weights are 0, wanted one above it"),
    ("web: 0.5, code: 0.5", "web: 1, code: 0", "x.yaml:8:27: dataset.train.sources.code.weight: the"
     " weight is 0, and no entry of dataset.train.schedule raises it"),
    ("code: 0.5", "coed: 0.5", "x.yaml:10:40: dataset.train.schedule.0.weights.coed: there is no"
     ' source of this name; did you mean "code"? there are web, code'),
    (", code: 0.5", "", "x.yaml:10:20: dataset.train.schedule.0.weights: no weight for code; wanted"
     " one for every source, where 0 gives none of it"),
    ("code: 0.5", "code: half", 'x.yaml:10:46: dataset.train.schedule.0.weights.code: got "half",'
     " wanted a number of at least 0"),
    ("from: 10", "from: 0", "x.yaml:10:16: dataset.train.schedule.0.from: got 0, wanted a whole"
     " number greater than 0"),
    ("      - {from", "      - {from: 20, weights: {web: 1, code: 1}}\n      - {from",
     "x.yaml:11:10: dataset.train.schedule.1.from: got 10 after 20, wanted positions that rise"),
    ("    schedule", "    paths: data\n    schedule", "x.yaml:9:5: dataset.train.paths: unknown"
     " key; allowed: type, sources, columns, schedule"),
    ("type: mixture", "type: mixtrue", 'x.yaml:5:5: dataset.train: got the type "mixtrue", wanted'
     ' mixture or parquet; did you mean "mixture"?'),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), CASES, ids=[new for _, new, _ in CASES])
def test_a_mistake_in_a_mixture_is_one_line_for_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, message: str
) -> None:
    assert (HEAD + SCHEDULE).count(old) == 1
    with pytest.raises(SpecError) as caught:
        load(tmp_path, monkeypatch, (HEAD + SCHEDULE).replace(old, new))
    assert list(caught.value.problems) == [message]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        (HEAD + SCHEDULE, None),
        (HEAD.replace("    type: mixture\n", ""), None),
        (HEAD.replace("code:", "the-code:"), "is not valid under any"),
        (HEAD.replace("weight: 1", "weight: -1"), "is not valid under any"),
    ],
)
def test_an_editor_knows_mixtures(tmp_path: Path, text: str, mistake: str | None) -> None:
    (tmp_path / "x.yaml").write_text(text)
    schema = Draft202012Validator(json_schema())
    found = [
        error.message for error in schema.iter_errors(plain(read_yaml_file(tmp_path / "x.yaml")))
    ]
    assert (found == []) == (mistake is None)
    assert mistake is None or mistake in found[0]
