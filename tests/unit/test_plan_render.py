"""The plan as people and scripts read it."""

import json
from dataclasses import replace

import pytest

from orchestrator.plan.index import DatasetIndex
from orchestrator.plan.job import JobPlan
from orchestrator.plan.render import render_json, render_text
from orchestrator.plan.resources import ClusterCapacity
from tests.support.plans import make_index, make_plan, make_spec

CAPACITY = ClusterCapacity(cpus=16, gpus=4, cores=8, embedded=False)


def large_plan(**sections: object) -> JobPlan:
    spec = make_spec(
        **{
            "training": {"global_batch_size": 256, "epochs": 3, "validate_every": "50 steps"},
            "scaling": {"workers": 3, "gpus_per_worker": 1},
            "dataset": {
                "validation": {"paths": "validation"},
                "shuffle": {"type": "window", "rows": 16_384},
            },
            "transforms": [
                {"use": "pkg.code:decode", "workers": [1, 4], "gpus": 0.25, "splits": ["train"]}
            ],
            "checkpoint": {"every": "100 steps", "best": {"metric": "loss", "keep": 2}},
            **sections,
        }
    )
    return make_plan(
        spec,
        train=make_index((1000,) * 40, row_bytes=1024),
        validation=make_index((500, 501), row_bytes=1024),
        capacity=CAPACITY,
    )


def test_the_text_says_all_there_is_to_know_before_a_run() -> None:
    plan = large_plan()
    assert render_text(plan).splitlines() == [
        "job job",
        "  train           40,000 rows in 40 fragments of 40 files, 39.1MiB; columns id",
        "  validation      1,001 rows in 2 fragments of 2 files, 1001KiB; columns id",
        "  steps           471 = 3 epochs of 157",
        "  global batch    256 rows; the last one of an epoch has 64",
        "  order           fragments and rows shuffled anew in each epoch, seed 7",
        "  lanes           32 of 8 rows, 10 or 11 for each of 3 workers",
        "  superblock      64 steps, 16MiB before the transforms; a worker holds 5.5MiB and"
        " fetches 2 more of",
        "                  these ahead",
        "  window          16,384 rows, 16MiB, 3 an epoch; each row is read 1.05 times",
        "  tuning          6 preprocessing workers of 1 CPU, 2 windows queued at each; measured"
        " when the run",
        "                  starts, where the spec leaves it open",
        "  memory          384MiB of object store keep it going: 320MiB made and waiting for their"
        " turn,",
        "                  64MiB at the workers; counted before the transforms",
        "  resources       training                       3 x, 3 CPUs, 3 GPUs in all",
        "                  preprocessing                  6 x, 6 CPUs in all",
        "                  preprocessing, stage 2    1 to 4 x, 4 CPUs, 1 GPU in all",
        "                  preprocessing, numbering       1 x, 1 CPU in all",
        "                  validation                     1 x, 1 CPU in all",
        "                  validation, numbering          1 x, 1 CPU in all",
        "  fits            yes: 16 of 16 CPUs, 4 of 4 GPUs",
        "  checkpoints     every 100 steps and at the end, 5 in all; also whenever a validation is"
        " the best",
        "                  so far; kept are the latest 2 and the best 2 by loss (min)",
        "  validations     every 50 steps and at the end, 10 in all",
        "  run directory   /data/runs/job",
        f"  fingerprint     {plan.fingerprint.digest[:16]} of the order",
    ]


def test_the_json_says_the_same_in_plain_numbers() -> None:
    plan = large_plan()
    made = json.loads(json.dumps(render_json(plan)))
    assert made["splits"]["train"] == {
        "rows": 40_000,
        "samples": 40_000,
        "fragments": 40,
        "files": 40,
        "bytes": 40_960_000,
        "columns": {"id": "int64"},
    }
    assert made["splits"]["validation"]["rows"] == 1001
    assert {
        key: made[key]
        for key in made
        if key not in ("splits", "resources", "order_parts", "read_amplification")
    } == {
        "name": "job",
        "run_dir": "/data/runs/job",
        "mixture": None,
        "steps_per_epoch": 157,
        "total_steps": 471,
        "counted": True,
        "order": "strict",
        "global_batch_size": 256,
        "workers": 3,
        "workers_range": [3, 3],
        "lanes": 32,
        "lanes_per_worker": [10, 11],
        "superblock_steps": 64,
        "superblock_bytes": 64 * 256 * 1024,
        "superblock_bytes_per_worker": 64 * 256 * 1024 * 11 // 32,
        "window_rows": 16_384,
        "window_bytes": 16_384 * 1024,
        "prefetch_blocks": 2,
        "tasks_in_flight": 2,
        "measured": None,
        # Of 16 MiB each: a window in hand of 6 readers, two superblocks of each of the 4 workers of
        # the second stage, and 4 superblocks at the training workers.
        "store_bytes": (6 * 2 + 2 * 4 + 4) << 24,
        "validate_every_steps": 50,
        "fitted": [],
        "checkpoint_every": "100 steps",
        "checkpoint_every_steps": 100,
        "order_fingerprint": plan.fingerprint.digest,
        "warnings": [],
    }
    assert made["read_amplification"] == pytest.approx(1.05)
    assert made["resources"]["needs"][0] == {
        "what": "training",
        "count": "3",
        "cpus": 3.0,
        "gpus": 3.0,
    }
    assert {key: made["resources"][key] for key in ("cpus", "gpus", "fits")} == {
        "cpus": 16.0,
        "gpus": 4.0,
        "fits": True,
    }
    assert set(made["order_parts"]) == set(plan.fingerprint.parts)


def test_a_fitted_transform_is_said_to_take_a_pass_of_its_own() -> None:
    spec = make_spec(transforms=["pkg.code:decode", "pkg.code:Impute"])
    plan = make_plan(spec, train=make_index((1000,) * 40), fitted={"pkg.code:Impute"})
    assert topic(plan, "fitted") == "pkg.code:Impute (one pass over 40,000 rows before training)"
    assert render_json(plan)["fitted"] == [{"use": "pkg.code:Impute", "position": 2}]


def topic(plan: JobPlan, label: str) -> str:
    lines = render_text(plan).splitlines()
    return next(line[18:] for line in lines if line.startswith(f"  {label} "))


@pytest.mark.parametrize(
    ("sections", "label", "text"),
    [
        ({"scaling": {"workers": 1}}, "lanes", "12 of 1 row, 12 for the one worker"),
        ({"scaling": {"workers": 4}}, "lanes", "12 of 1 row, 3 for each of 4 workers"),
        ({}, "validation", "none"),
        ({}, "window", "the whole epoch, 800B, read by one task"),
        ({"training": {"epochs": 1}}, "steps", "9 = 1 epoch of 9"),
        ({"training": {"epochs": None, "steps": 30}}, "steps", "30 = 3.333 epochs of 9"),
        ({"dataset": {"shuffle": "none"}}, "order", "as the files are, the same in every epoch"),
        (
            {"dataset": {"shuffle": "fragments"}},
            "order",
            "fragments shuffled anew in each epoch, seed 7",
        ),
        (
            {"checkpoint": {"every": "1 epoch"}},
            "checkpoints",
            "every epoch and at the end, 2 in all; kept are the latest 2",
        ),
        (
            {"checkpoint": {"every": "4 steps", "keep_latest": 1}},
            "checkpoints",
            "every 4 steps and at the end, 5 in all; kept are the latest 1",
        ),
        (
            {"checkpoint": {"every": "10m"}},
            "checkpoints",
            "every 10m and at the end; kept are the latest 2",
        ),
        (
            {"checkpoint": {"every": "10m", "keep_every": 50}},
            "checkpoints",
            "every 10m and at the end; kept are the latest 2 and the first of each 50 steps",
        ),
    ],
)
def test_each_topic_is_put_as_people_say_it(
    sections: dict[str, object], label: str, text: str
) -> None:
    assert topic(make_plan(make_spec(**sections)), label) == text


def test_an_embedded_ray_shows_the_cores_behind_its_cpus() -> None:
    plan = make_plan(capacity=ClusterCapacity(cpus=8, gpus=0, cores=2, embedded=True))
    assert topic(plan, "fits") == "yes: 5 of 8 CPUs of an embedded Ray, on 2 cores"


def test_long_lines_are_folded_under_their_topic() -> None:
    many = tuple(replace(make_index().columns[0], name=f"feature_{n}") for n in range(200))
    index = DatasetIndex(fragments=make_index((500,)).fragments, columns=many)
    plan = make_plan(
        make_spec(dataset={"shuffle": {"rows": 96}}), train=index, validation=make_index()
    )
    assert plan.warnings
    for line in render_text(plan).splitlines()[1:]:
        assert len(line) <= 100
        assert line == line.rstrip()
        assert line[:2] == "  "
    assert "feature_199" in render_text(plan)


def test_a_path_is_never_broken() -> None:
    spec = make_spec(checkpoint={"storage": "/" + "very-long-name/" * 12})
    assert f"/{'very-long-name/' * 12}job" in render_text(make_plan(spec))


def test_a_relaxed_order_is_told() -> None:
    plan = make_plan(make_spec(dataset={"order": "relaxed", "shuffle": "none"}))
    told = " ".join(render_text(plan).split())
    assert (
        "order as the files are, the same in every epoch; relaxed: superblocks in the order in"
        " which they are ready lanes"
    ) in told
    assert render_json(plan)["order"] == "relaxed"
