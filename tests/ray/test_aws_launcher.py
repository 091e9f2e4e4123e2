"""The cluster file for AWS, by Ray's own node provider and autoscaler, in an account of moto's."""

import json
import subprocess
from pathlib import Path

import numpy
import pytest

from tests.support.runs import ROOT

MOTO = ROOT / ".venv-moto" / "bin" / "python"


@pytest.mark.skipif(not MOTO.exists(), reason="`make setup` installs the AWS of the tests")
def test_aws_is_asked_for_what_the_file_says_and_gives_it_back() -> None:
    packages = Path(numpy.__file__).parents[1]
    done = subprocess.run(
        [
            MOTO,
            ROOT / "tests" / "support" / "aws_launcher.py",
            ROOT / "cluster" / "aws.yaml",
            packages,
        ],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    told = json.loads(done.stdout.splitlines()[-1])
    head, came = told["head"], told["demand"]
    assert (head["kind"], head["machine"], head["spot"]) == ("head", "m6i.xlarge", False)
    assert sorted((each["node_type"], each["machine"], each["spot"]) for each in came) == [
        ("preprocessing", "c6i.4xlarge", True),
        ("preprocessing", "c6i.4xlarge", True),
        ("training", "g5.xlarge", False),
    ]
    for each in [head, *came]:
        # Our own group alone: with one of Ray's, port 22 would be open to the world.
        assert each["groups"] == told["group"]
        assert each["http_tokens"] == "required"
        assert each["cluster"] == "flights"
        assert each["profile"] == "CHANGE-ME-instance-profile"
    assert told["idle"] == []
