"""A development cluster whose nodes come with work, and leave without."""

import os
import subprocess
import sys

import pytest

from orchestrator.run.local_clusters import LOOPBACK_ONLY
from tests.support.local_clusters import clusters_home, processes_of, wait_for

pytestmark = pytest.mark.ray

# Holds a task on a node of each kind until its standard input ends.
_WORK = """
import sys, ray, threading
ray.init(address=sys.argv[1], log_to_driver=False)
@ray.remote(num_cpus=1)
class Held:
    def where(self): return ray.get_runtime_context().get_node_labels()["role"]
kinds = [{"label_selector": {"role": "preprocessing"}}] * 2 + [{"num_gpus": 1}]
held = [Held.options(**kind).remote() for kind in kinds]
print(sorted(ray.get([each.where.remote() for each in held])), flush=True)
sys.stdin.read()
"""


@pytest.mark.timeout(400)
def test_nodes_come_with_work_and_leave_without() -> None:
    least = ["head", "preprocessing"]
    with clusters_home() as home:
        done = home.orchestrator(
            "cluster", "up", "--autoscale", "--cpu-nodes", "1..2", "--gpu-nodes", "0..1",
            "--cpus-per-node", "1", "--idle-timeout", "5s",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        record = home.record()
        assert home.roles() == least
        environment = {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(record["token_file"]),
            **LOOPBACK_ONLY,
        }
        with subprocess.Popen(
            [sys.executable, "-c", _WORK, str(record["address"])],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        ) as work:  # fmt: skip
            assert work.stdout is not None
            assert (
                work.stdout.readline().strip() == "['preprocessing', 'preprocessing', 'training']"
            )
            assert home.roles() == [*least, "preprocessing", "training"]
            work.communicate()
        wait_for(lambda: home.roles() == least, what="the idle nodes leave")
        assert home.orchestrator("cluster", "down").returncode == 0
        assert processes_of(record) == []
