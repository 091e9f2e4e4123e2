"""Loading a job spec: files, what they extend, the command line, the environment."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from orchestrator.errors import SpecError
from orchestrator.spec import Cosine, JobSpec, Linear, Sgd
from orchestrator.spec.load import load_job, read_job
from orchestrator.spec.overrides import text_override
from orchestrator.units import Interval

JOB = """\
name: digits
dataset:
  train: {paths: data/train}
transforms:
  - mine:scale
  - use: mine:Shift
    with: {amount: 2}
training:
  task: mine:Task
  epochs: 3
  global_batch_size: 64
  schedule: cosine
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, so that messages have short paths."""
    monkeypatch.chdir(tmp_path)
    Path("job.yaml").write_text(JOB, encoding="utf-8")
    return tmp_path


def load(*overrides: str, environ: Mapping[str, str] | None = None) -> JobSpec:
    return load_job(Path("job.yaml"), overrides=overrides, environ=environ or {})


def write(path: str, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")


@pytest.mark.usefixtures("folder")
class TestFiles:
    def test_yaml_and_python_build_the_same_job(self, folder: Path) -> None:
        expected = JobSpec.model_validate(
            {
                "name": "digits",
                "dataset": {"train": {"paths": ("data/train",)}},
                "transforms": (
                    {"use": "mine:scale"},
                    {"use": "mine:Shift", "with_": {"amount": 2}},
                ),
                "training": {
                    "task": "mine:Task",
                    "epochs": 3,
                    "global_batch_size": 64,
                    "schedule": Cosine(),
                },
                "runtime": {"working_dir": str(folder)},
            }
        )
        assert load() == expected

    def test_the_working_folder_is_relative_to_the_spec_file(self, folder: Path) -> None:
        write("jobs/job.yaml", JOB + "runtime: {working_dir: ../code}\n")
        spec = load_job(Path("jobs/job.yaml"), environ={})
        assert spec.runtime.working_dir == str(folder / "code")
        override = ["runtime.working_dir=here"]
        spec = load_job(Path("jobs/job.yaml"), overrides=override, environ={})
        assert spec.runtime.working_dir == str(folder / "jobs" / "here")

    def test_an_absolute_working_folder_stays(self) -> None:
        write("job.yaml", JOB + "runtime: {working_dir: /code}\n")
        assert load().runtime.working_dir == "/code"

    def test_a_missing_file_is_named_with_the_nearest(self) -> None:
        with pytest.raises(SpecError, match=r'^jbo.yaml: no such file; did you mean "job.yaml"\?$'):
            load_job(Path("jbo.yaml"), environ={})
        with pytest.raises(SpecError, match=r"^no/where.yaml: no such file$"):
            load_job(Path("no/where.yaml"), environ={})

    @pytest.mark.parametrize("text", ["", "- 1", "text"])
    def test_a_file_that_holds_no_mapping_is_refused(self, text: str) -> None:
        write("job.yaml", text)
        with pytest.raises(SpecError, match=r"^job.yaml:1:1: wanted a mapping"):
            load()

    def test_the_name_with_an_underscore_is_for_python_only(self) -> None:
        write("job.yaml", JOB.replace("with:", "with_:"))
        with pytest.raises(SpecError, match=r'with_: unknown key; did you mean "with"\?'):
            load()

    def test_a_loaded_job_knows_the_places_of_its_values(self) -> None:
        job = read_job(Path("job.yaml"), environ={})
        assert str(job.where(("transforms", 1, "use"))) == "job.yaml:6:10"
        assert str(job.where(("training", "optimizer", "lr"))) == "job.yaml:8:1"


@pytest.mark.usefixtures("folder")
class TestExtends:
    def test_a_file_lies_over_the_one_that_it_extends(self) -> None:
        write("base/base.yaml", JOB + "checkpoint: {keep_latest: 5, every: 10 steps}\n")
        write(
            "job.yaml",
            "extends: base/base.yaml\nname: small\ntraining: {epochs: 1}\n"
            "transforms: [mine:other]\ncheckpoint: {every: 1 epoch}\n",
        )
        spec = load()
        assert (spec.name, spec.training.epochs, spec.training.global_batch_size) == (
            "small",
            1,
            64,
        )
        assert [item.use for item in spec.transforms] == ["mine:other"]
        assert spec.checkpoint.every == Interval(epochs=1)
        assert spec.checkpoint.keep_latest == 5

    def test_a_section_of_another_type_replaces(self) -> None:
        write("base.yaml", JOB + "  optimizer: {type: sgd, lr: 0.1, momentum: 0.9}\n")
        write("job.yaml", "extends: base.yaml\ntraining: {optimizer: {lr: 0.2}}\n")
        assert load().training.optimizer == Sgd(lr=0.2, momentum=0.9)
        write("job.yaml", "extends: base.yaml\ntraining: {optimizer: {type: adamw, eps: 1e-6}}\n")
        assert load().training.optimizer.type == "adamw"

    def test_a_folder_means_what_it_means_in_its_own_file(self, folder: Path) -> None:
        write("base/base.yaml", JOB + "runtime: {working_dir: code}\n")
        write("job.yaml", "extends: base/base.yaml\n")
        assert load().runtime.working_dir == str(folder / "base" / "code")

    def test_an_error_names_the_file_that_the_value_stands_in(self) -> None:
        write("base/base.yaml", JOB.replace("epochs: 3", "epochs: many"))
        write("job.yaml", "extends: base/base.yaml\nseed: -1\n")
        with pytest.raises(SpecError) as caught:
            load()
        assert [problem.split(" ")[0] for problem in caught.value.problems] == [
            "base/base.yaml:10:11:",
            "job.yaml:2:7:",
        ]

    def test_circles_and_long_chains_are_refused(self) -> None:
        write("job.yaml", "extends: other.yaml\n")
        write("other.yaml", "extends: ./x/../job.yaml\n")
        with pytest.raises(SpecError, match=r"^other.yaml:1:10: extends: job.yaml extends itself"):
            load()
        for number in range(12):
            write(f"c{number}.yaml", f"extends: c{number + 1}.yaml\n")
        with pytest.raises(SpecError, match=r"^c8.yaml:1:10: extends: more than 8 files"):
            load_job(Path("c0.yaml"), environ={})

    def test_eight_files_may_extend_each_other(self) -> None:
        for number in range(8):
            write(f"c{number}.yaml", f"extends: c{number + 1}.yaml\n")
        write("c8.yaml", JOB)
        assert load_job(Path("c0.yaml"), environ={}).name == "digits"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("extends: jbo.yaml", r'no such file: jbo.yaml; did you mean "job.yaml"\?$'),
            ("extends: [a]", "wanted the path of a file$"),
            ('extends: ""', "wanted the path of a file$"),
            ('extends: "a\\0b"', "wanted the path of a file$"),
            ("extends: x", r"^x: cannot be read: Is a directory"),
            ("extends: list.yaml", r"^list.yaml:1:1: wanted a mapping, since job.yaml extends"),
        ],
    )
    def test_a_wrong_base_is_named(self, text: str, message: str) -> None:
        Path("x").mkdir()
        write("list.yaml", "- 1\n")
        write("job.yaml", text)
        with pytest.raises(SpecError, match=message):
            load()


@pytest.mark.usefixtures("folder")
class TestEnvironment:
    def test_variables_stand_inside_texts(self) -> None:
        write("job.yaml", JOB.replace("data/train", '"${env:ROOT}/a-${env:PART}"'))
        spec = load(environ={"ROOT": "/data", "PART": "x"})
        assert spec.dataset.train.paths == ("/data/a-x",)

    def test_a_value_is_not_looked_into_again(self) -> None:
        write("job.yaml", JOB.replace("data/train", '"${env:A}"'))
        assert load(environ={"A": "${env:B}", "B": "no"}).dataset.train.paths == ("${env:B}",)

    def test_a_doubled_dollar_stands_for_itself(self) -> None:
        write("job.yaml", JOB.replace("data/train", '"$${env:A} $x $$${"'))
        assert load().dataset.train.paths == ("${env:A} $x $${",)

    def test_missing_and_malformed_variables_are_all_named(self) -> None:
        write(
            "job.yaml", JOB + 'checkpoint: {storage: "${env:A}/${HOME}/${env:", every: "${env:2}"}'
        )
        with pytest.raises(SpecError) as caught:
            load()
        assert len(caught.value.problems) == 4
        assert caught.value.problems[0] == ("job.yaml:13:23: the environment variable A is not set")
        assert '"${HOME}" is no variable; write "${env:NAME}"' in caught.value.problems[1]

    def test_options_take_variables_too(self) -> None:
        assert load("name=${env:N}", environ={"N": "x"}).name == "x"
        with pytest.raises(SpecError, match=r"^--set name=\$\{env:N\}: .* N is not set"):
            load("name=${env:N}")

    def test_the_value_of_a_variable_stays_out_of_messages(self) -> None:
        write("job.yaml", JOB.replace("digits", '"${env:TOKEN}"'))
        with pytest.raises(SpecError, match=r'got "\$\{env:TOKEN\}", wanted a name') as caught:
            load(environ={"TOKEN": "s3cret!"})
        assert "s3cret" not in str(caught.value)


@pytest.mark.usefixtures("folder")
class TestOverrides:
    @pytest.mark.parametrize(
        ("text", "path", "value"),
        [
            ("training.epochs=7", "training.epochs", 7),
            ("training.clip_norm=1e-3", "training.clip_norm", 0.001),
            ("checkpoint.storage=a: b", "checkpoint.storage", "a: b"),
            ("dataset.train.paths=*.parquet", "dataset.train.paths", ("*.parquet",)),
            ("dataset.train.paths=[a, 'b c']", "dataset.train.paths", ("a", "b c")),
            ("dataset.train.columns.=x", None, None),
            ("transforms.1.with.amount=3", "transforms.1.with_.amount", 3),
            ("transforms.0.with.low=3", "transforms.0.with_.low", 3),
            ("training.schedule.warmup_steps=9", "training.schedule.warmup_steps", 9),
            ("training.optimizer.lr=0.5", "training.optimizer.lr", 0.5),
            ("checkpoint.best={metric: loss}", "checkpoint.best.metric", "loss"),
            ('name="7"', "name", "7"),
            ("scaling.workers= 3 ", "scaling.workers", (3, 3)),
        ],
    )
    def test_one_value_changes(self, text: str, path: str | None, value: object) -> None:
        if path is None:
            with pytest.raises(SpecError, match="wanted path=value"):
                load(text)
            return
        found: object = load(text)
        for part in path.split("."):
            if isinstance(found, dict):
                found = found[part]
            else:
                found = found[int(part)] if isinstance(found, tuple) else getattr(found, part)
        assert found == value

    def test_later_options_win_and_null_takes_a_value_away(self) -> None:
        spec = load("training.steps=5", "training.epochs=null", "training.steps=6")
        assert (spec.training.steps, spec.training.epochs) == (6, None)

    def test_a_kind_is_changed_with_its_options(self) -> None:
        spec = load("training.schedule={type: linear, final_fraction: 0.5}")
        assert spec.training.schedule == Linear(final_fraction=0.5)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("training.epochs", 'wanted path=value, such as "training.epochs=3"'),
            ("=3", "wanted path=value"),
            (
                "transforms.2.use=mine:x",
                r'transforms is a list: wanted .* 0 to 1, got "2"',
            ),
            ("transforms.-1.use=mine:x", "wanted an index from 0 to 1"),
            ("transforms.x=1", 'wanted an index from 0 to 1, got "x"'),
            ("name.x=1", 'name is one value; there is no "x" inside'),
            ("training.epochs.x=1", 'training.epochs is one value; there is no "x" inside'),
            ("training.epochs=many", 'training.epochs: got "many", wanted a whole number'),
            ("training.lerning_rate=1", "training.lerning_rate: unknown key;"),
            ("trainin.epochs=1", 'trainin: unknown key; did you mean "training"'),
            ("training.with={a: [1, }", "not valid YAML"),
            ("training.with={a: !!x 1}", 'the tag "!!x" is not allowed'),
            ("seed=.nan", "wanted a finite number"),
        ],
    )
    def test_a_wrong_option_is_quoted(self, text: str, message: str) -> None:
        with pytest.raises(SpecError, match=message) as caught:
            load(text)
        assert str(caught.value).startswith(f"--set {text}: ")

    def test_an_option_of_its_own_takes_text_as_it_stands(self) -> None:
        override = text_override("name", "7", option="--name 7")
        assert load_job(Path("job.yaml"), overrides=[override], environ={}).name == "7"
        override = text_override("name", "../x", option="--name ../x")
        with pytest.raises(SpecError, match=r'^--name ../x: name: got "../x", wanted a name'):
            load_job(Path("job.yaml"), overrides=[override], environ={})


def test_from_python_a_text_and_the_environment_of_the_process_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "job.yaml").write_text(
        "name: ${env:RUN_NAME}\n"
        "dataset: {train: {paths: data}}\n"
        "training: {task: mine:Task, epochs: 1, global_batch_size: 8}\n"
    )
    monkeypatch.setenv("RUN_NAME", "by-the-environment")
    assert load_job(str(tmp_path / "job.yaml")).name == "by-the-environment"
