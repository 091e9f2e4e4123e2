"""What a person reads when a spec is wrong."""

import pickle
from pathlib import Path

import pytest

from orchestrator.errors import SpecError
from orchestrator.spec.load import load_job

HEAD = """\
name: job
dataset:
  train: {paths: data}
training:
  task: mine:Task
  epochs: 1
  global_batch_size: 8
"""


def problems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> list[str]:
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        load_job(Path("x.yaml"), environ={})
    return list(caught.value.problems)


# The lines added to HEAD (so that they start at line 8) and the whole message.
CASES = [
    ("sede: 3", 'x.yaml:8:1: sede: unknown key; did you mean "seed"? allowed: name, seed, dataset, '
     "transforms, training, scaling, checkpoint, failure, runtime, extends"),
    ("seed: -1", "x.yaml:8:7: seed: got -1, wanted a whole number of at least 0"),
    ("seed: 1.5", "x.yaml:8:7: seed: got 1.5, wanted a whole number of at least 0"),
    ("seed: true", "x.yaml:8:7: seed: got true, wanted a whole number of at least 0"),
    ('seed: "3"', 'x.yaml:8:7: seed: got "3", wanted a whole number of at least 0'),
    ("seed: 99999999999999999999", "x.yaml:8:7: seed: got 99999999999999999999, "
     "wanted a whole number of at least 0 and at most 9007199254740991"),
    ("seed: {a: 1}", "x.yaml:8:7: seed: got a mapping, wanted a whole number of at least 0"),
    ("  optimizer: {lr: fast}",
     'x.yaml:8:19: training.optimizer.lr: got "fast", wanted a number greater than 0'),
    ("  optimizer: {type: sgd}",
     "x.yaml:8:3: training.optimizer.lr: missing; wanted a number greater than 0"),
    ("  optimizer: adam", 'x.yaml:8:14: training.optimizer: got the type "adam", wanted adamw or '
     'sgd; did you mean "adamw"?'),
    ("  optimizer: {type: adam}", 'x.yaml:8:14: training.optimizer: got the type "adam", wanted '
     'adamw or sgd; did you mean "adamw"?'),
    ("  optimizer: [1]", "x.yaml:8:14: training.optimizer: got [1], wanted a mapping whose type is "
     '"adamw" or "sgd", or "adamw"'),
    ("  optimizer: {adamw: 1}", "x.yaml:8:15: training.optimizer.adamw: unknown key; "
     "allowed: type, lr, weight_decay, betas, eps"),
    ("  optimizer: {betas: [0.9]}", "x.yaml:8:15: training.optimizer.betas.1: missing; wanted a "
     "number of at least 0 and less than 1"),
    ("  optimizer: {betas: [0.9, 0.9, 0.9]}", "x.yaml:8:22: training.optimizer.betas: got "
     "[0.9, 0.9, 0.9], wanted a list of 2, each a number of at least 0 and less than 1"),
    ("  lr: 0.1", 'x.yaml:8:3: training.lr: unknown key; did you mean "optimizer.lr"? allowed: '
     "task, loop, with, epochs, steps, global_batch_size, micro_batch_size, strategy, "
     "oom_retries, on_nan, max_rewinds, optimizer, schedule, "
     "clip_norm, validate_every, report_every, device"),
    ("  device: cude", 'x.yaml:8:11: training.device: got "cude", wanted "auto", "cpu" or "cuda"; '
     'did you mean "cuda"?'),
    ("  steps: 4", "x.yaml:4:1: training: exactly one of epochs and steps must be set, and both "
     "are (epochs: 1, steps: 4); set the other to null"),
    ("  clip_norm: .5.5", 'x.yaml:8:14: training.clip_norm: got ".5.5", wanted a number greater '
     "than 0, or null"),
    ("  validate_every: 10m", 'x.yaml:8:19: training.validate_every: got "10m", wanted steps or '
     'epochs such as "100 steps" or "1 epoch": clocks differ between workers, and all must agree '
     "when to validate"),
    ("checkpoint: {every: soon}", 'x.yaml:8:21: checkpoint.every: got "soon", wanted an interval '
     'such as "100 steps", "2 epochs" or "10m"'),
    ("checkpoint: {every: {steps: 5}, storage: 5}",
     "x.yaml:8:42: checkpoint.storage: got 5, wanted text"),
    ("scaling: {lanes: atuo}", 'x.yaml:8:18: scaling.lanes: got "atuo", wanted a whole number '
     'greater than 0, or "auto"; did you mean "auto"?'),
    ("scaling: {lanes: 3}",
     "x.yaml:8:11: scaling.lanes: lanes (3) must divide training.global_batch_size (8);"
     " 2 and 4 do"),
    ("scaling: {preprocessing: {workers: [3, 1]}}", "x.yaml:8:36: scaling.preprocessing.workers: "
     'got [3, 1], wanted a whole number greater than 0, or [min, max], or "auto"'),
    ("scaling: 3", "x.yaml:8:10: scaling: got 3, wanted a mapping with the keys workers, "
     "grow_after, cpus_per_worker, gpus_per_worker, labels, lanes, superblock_steps, "
     "prefetch_blocks, preprocessing, validation"),
    ("transforms: mine:f", 'x.yaml:8:13: transforms: got "mine:f", wanted a list, each item '
     "a mapping with the keys use, with, kind, length, splits, cpus, gpus, workers, batch_rows, "
     'or a reference such as "package.module:attribute"'),
    ("transforms:\n- os:system", 'x.yaml:9:3: transforms.0: got "os:system", wanted a reference '
     'such as "package.module:attribute" of your own code: "os" is part of Python'),
    ("transforms:\n- {use: mine:f, splits: [tarin]}", 'x.yaml:9:26: transforms.0.splits.0: got '
     '"tarin", wanted "train" or "validation"; did you mean "train"?'),
    ("runtime: {object_store: 3 elephants}", 'x.yaml:8:25: runtime.object_store: got "3 elephants",'
     ' wanted a size such as "64MiB" or "1GB", or "auto"'),
    ('runtime: {working_dir: ""}',
     'x.yaml:8:24: runtime.working_dir: got "", wanted text that is not empty'),
    ('runtime: {working_dir: "a\\0b"}', 'x.yaml:8:24: runtime.working_dir: got "a\\u0000b", wanted '
     "text without the character NUL"),
    ("runtime:", "x.yaml:8:9: runtime: got null, wanted a mapping with the keys address, cpus, "
     "object_store, working_dir, data_dir, env, pip, excludes"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), CASES, ids=[text for text, _ in CASES])
def test_a_mistake_is_one_line_for_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    assert problems(tmp_path, monkeypatch, HEAD + text + "\n") == [message]


def test_several_mistakes_come_at_once_in_the_order_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = HEAD.replace("name: job", "name: ../x").replace("epochs: 1", "epochs: 0") + "sede: 1\n"
    found = problems(tmp_path, monkeypatch, text)
    assert [problem.split(" ")[1] for problem in found] == ["name:", "training.epochs:", "sede:"]
    with pytest.raises(
        SpecError, match=r"^3 problems in the spec:\n  x.yaml:1:7: name: "
    ) as caught:
        load_job(Path("x.yaml"), environ={})
    assert pickle.loads(pickle.dumps(caught.value)).problems == tuple(found)


def test_what_is_missing_is_said_of_the_section_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = problems(tmp_path, monkeypatch, "name: job\ntraining:\n  epochs: 1\n")
    assert [problem.split(";")[0] for problem in found] == [
        "x.yaml:1:1: dataset: missing",
        "x.yaml:2:1: training.global_batch_size: missing",
    ]


def test_long_and_unprintable_values_are_cut_and_escaped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (found,) = problems(tmp_path, monkeypatch, HEAD + 'seed: "\\e[31m' + "x" * 1000 + '"\n')
    assert found.startswith('x.yaml:8:7: seed: got "\\u001b[31mxxx')
    assert len(found) < 140


def test_no_word_of_the_validator_leaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text, _ in CASES:
        for found in problems(tmp_path, monkeypatch, HEAD + text + "\n"):
            assert "Input should" not in found
            assert "valid " not in found
            assert "literal" not in found
            assert "Error" not in found
