"""The budget of bad rows: how it is written, and how many rows it is."""

from pathlib import Path

import pytest

from orchestrator.errors import SpecError
from orchestrator.plan.quarantine import most_errors
from orchestrator.spec.dataset import DatasetSpec
from orchestrator.spec.load import load_job

JOB = """\
name: job
dataset: {{train: {{paths: t}}, on_error: quarantine, max_errors: {}}}
training: {{task: 'a:T', epochs: 1, global_batch_size: 4}}
"""


@pytest.mark.parametrize(
    ("limit", "rows", "most"),
    [(0, 9, 0), (12, 9, 12), ("1%", 99, 0), ("1%", 100, 1), ("0.1%", 3000, 3), ("100%", 7, 7)],
)
def test_a_budget_in_rows_or_per_cent(limit: object, rows: int, most: int) -> None:
    spec = {"train": {"paths": "t"}, "on_error": "quarantine", "max_errors": limit}
    assert most_errors(DatasetSpec.model_validate(spec), rows) == most
    fails = DatasetSpec.model_validate({**spec, "on_error": "fail"})
    assert most_errors(fails, rows) is None


@pytest.mark.parametrize("wrong", ["-1", "1.5", "101%", "few", "true", "'%'", "[1]", "'-1%'"])
def test_a_budget_that_is_none_is_refused_with_what_is_wanted(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "job.yaml").write_text(JOB.format(wrong))
    with pytest.raises(SpecError) as caught:
        load_job(tmp_path / "job.yaml")
    told = str(caught.value)
    assert "dataset.max_errors: got " in told
    assert 'wanted a whole number of rows from 0 on, or per cent such as "0.5%"' in told
