"""Writing a spec, and reading it back."""

import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.spec import JobSpec
from orchestrator.spec.base import LARGEST_COUNT
from orchestrator.spec.load import dump_job, load_job
from orchestrator.units import Interval

# Surrogates are no characters; everything else may stand in a text.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
# Words that some version of YAML reads as something else, and the signs of variables.
tricky = st.sampled_from(
    ["on", "no", "yes", "y", "1e-3", "0o17", "0x1", "1:30", "1_000", "null", "~", "", "=", "<<",
     ".inf", "-.INF", ".nan", "1e999", "${env:A}", "$${", "$$${x}", "- a", "a: b", "#", "*a", "&a",
     "!x", "%", "@", " a ", "a\n", "\n", "\t", "---", "...", "2020-01-01", "true", "'", '"', "?",
     "\ufeff", "\u2028", "\x85", "9" * 500, "a #b", "{", "["]
)  # fmt: skip
any_text = texts | tricky
safe = any_text.filter(lambda text: text != "" and "\0" not in text)
counts = st.integers(1, LARGEST_COUNT)
positive = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
fractions = st.floats(min_value=0, max_value=1, exclude_max=True)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=8,
)
arguments = st.dictionaries(any_text, json_values, max_size=3)
references = st.sampled_from(["mine:f", "a.b_c.d:E"])
ranges = st.tuples(st.integers(1, 9), st.integers(0, 9)).map(lambda pair: (pair[0], sum(pair)))
step_intervals = st.builds(lambda n: Interval(steps=n), st.integers(1, 10**12)) | st.builds(
    lambda n: Interval(epochs=n), st.integers(1, 10**12)
)
intervals = step_intervals | st.builds(lambda n: Interval(seconds=n / 1000), st.integers(1, 10**12))
sources = st.fixed_dictionaries(
    {"paths": st.lists(safe, min_size=1, max_size=3).map(tuple)},
    optional={"columns": st.lists(safe, min_size=1, max_size=3, unique=True).map(tuple)},
)
transforms = st.fixed_dictionaries(
    {"use": references},
    optional={
        "with": arguments,
        "cpus": positive,
        "gpus": fractions,
        "workers": ranges,
        "batch_rows": counts,
        "splits": st.sampled_from([("train",), ("validation",), ("validation", "train")]),
    },
)
optimizers = st.fixed_dictionaries(
    {"type": st.just("adamw")},
    optional={"lr": positive, "betas": st.tuples(fractions, fractions), "eps": positive},
) | st.fixed_dictionaries(
    {"type": st.just("sgd"), "lr": positive}, optional={"weight_decay": positive}
)
schedules = st.sampled_from(["constant", "linear", "cosine"]) | st.fixed_dictionaries(
    {"type": st.just("linear"), "final_fraction": fractions}
)
jobs = st.fixed_dictionaries(
    {
        "name": st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z"),
        "dataset": st.fixed_dictionaries(
            {"train": sources},
            optional={
                "validation": sources,
                "shuffle": st.sampled_from(["none", "fragments", "window"])
                | st.fixed_dictionaries({"rows": counts}),
            },
        ),
        "training": st.fixed_dictionaries(
            {"task": references, "epochs": counts, "global_batch_size": counts},
            optional={
                "with": arguments,
                "optimizer": optimizers,
                "schedule": schedules,
                "validate_every": step_intervals,
                "clip_norm": positive,
            },
        ),
        "runtime": st.fixed_dictionaries(
            {"working_dir": st.just("/code")},
            optional={"address": safe, "object_store": st.integers(1, 2**60)},
        ),
    },
    optional={
        "seed": st.integers(0, LARGEST_COUNT),
        "transforms": st.lists(transforms, max_size=3).map(tuple),
        "scaling": st.fixed_dictionaries({"preprocessing": st.builds(dict, workers=ranges)}),
        "checkpoint": st.fixed_dictionaries(
            {"storage": safe, "every": intervals},
            optional={"best": st.fixed_dictionaries({"metric": safe})},
        ),
        "failure": st.builds(dict, worker_restarts=st.integers(-1, 9)),
    },
).map(JobSpec.model_validate)


def reload(job: JobSpec, folder: Path) -> JobSpec:
    file = folder / "job.yaml"
    file.write_text(dump_job(job), encoding="utf-8", newline="")
    return load_job(file, environ={})


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(job=jobs)
def test_a_dumped_job_loads_back_to_an_equal_one(job: JobSpec) -> None:
    with tempfile.TemporaryDirectory() as folder:
        again = reload(job, Path(folder))
        assert again == job
        assert dump_job(again) == dump_job(job)


def minimal() -> JobSpec:
    return JobSpec.model_validate(
        {
            "name": "job",
            "dataset": {"train": {"paths": "data"}},
            "training": {"task": "mine:Task", "epochs": 1, "global_batch_size": 8},
            "runtime": {"working_dir": "/code"},
        }
    )


def test_every_default_is_spelled_out() -> None:
    dumped = yaml.safe_load(dump_job(minimal()))
    assert dumped["training"]["optimizer"]["betas"] == [0.9, 0.999]
    assert dumped["training"]["with"] == {}
    assert dumped["checkpoint"] == {
        "storage": "runs",
        "every": "5m",
        "keep_latest": 2,
        "best": None,
        "keep_every": None,
        "ledger": True,
        "mirror": None,
    }
    assert list(dumped) == list(JobSpec.model_fields)


@pytest.mark.parametrize("text", ["1e-3", "on", "0o17", "${env:A}", "null", "9" * 500])
def test_texts_that_look_like_something_else_stay_texts(text: str, tmp_path: Path) -> None:
    job = minimal()
    job = job.model_copy(
        update={"training": job.training.model_copy(update={"with_": {"a": text}})}
    )
    assert reload(job, tmp_path).training.with_ == {"a": text}


def test_a_loop_is_written_without_what_belongs_to_a_task(tmp_path: Path) -> None:
    job = JobSpec.model_validate(
        {
            "name": "job",
            "dataset": {"train": {"paths": "data"}},
            "training": {"loop": "mine:train", "epochs": 1, "global_batch_size": 8},
        }
    )
    assert "optimizer" not in yaml.safe_load(dump_job(job))["training"]
    assert reload(job, tmp_path).training == job.training
