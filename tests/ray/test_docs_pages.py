"""The pages with runs in them, followed word by word in an empty folder."""

from pathlib import Path

import pytest

from tests.support.docs import ROOT, carry_out
from tests.support.local_clusters import clusters_home


@pytest.mark.slow
def test_the_tutorial_can_be_begun(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    first_run = ".venv/bin/orchestrator run my_project/job.yaml"
    second = f"{first_run} --fresh"
    assert carry_out(ROOT / "docs" / "tutorial.md", tmp_path, until=second) > 8


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_tutorial_can_be_followed(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    assert carry_out(ROOT / "docs" / "tutorial.md", tmp_path) > 10


@pytest.mark.slow
def test_the_own_loop_of_the_guide_trains(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    assert carry_out(ROOT / "docs" / "own-loop.md", tmp_path) > 2


@pytest.mark.slow
def test_a_cluster_on_this_machine_is_made_as_its_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with clusters_home() as home:
        monkeypatch.setenv("ORCHESTRATOR_HOME", str(home.folder))
        assert carry_out(ROOT / "docs" / "local-cluster.md", tmp_path) == 4
