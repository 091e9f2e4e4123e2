"""A training that is killed at any of its file operations goes on to the same bits."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_training_that_is_killed_at_any_file_operation_goes_on_to_the_same_bits(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.killed_training", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    undisturbed, *killed, last = json.loads(done.stdout)
    assert not undisturbed["killed"]
    assert not last["killed"]
    # Before the first checkpoint, between the two, and with the second one.
    steps = [outcome["step"] for outcome in killed]
    assert all(steps.count(step) > 5 for step in (0, 1, 2)), steps
    for outcome in [*killed, last]:
        assert outcome["problems"] == []
        assert outcome["digest"] == undisturbed["digest"]
