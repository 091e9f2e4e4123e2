"""Nodes that Ray's autoscaler starts on this machine; loaded by the autoscaler's own process."""

import uuid
from typing import Any

from ray._private import ray_constants
from ray.autoscaler._private.fake_multi_node.node_provider import FakeMultiNodeProvider


def code_folder() -> str:
    """A folder of a node's own for the code of jobs, by its name.

    Each node unpacks it there anew. In one folder for all nodes of a machine, as Ray has it (2.60),
    it would be deleted and made again under those who run in it.
    """
    return f"{ray_constants.DEFAULT_RUNTIME_ENV_DIR_NAME}-{uuid.uuid4().hex[:8]}"


class OneMachineProvider(FakeMultiNodeProvider):
    """Ray's provider for tests, whose nodes do not share the folder of their code."""

    def _create_node_with_resources_and_labels(self, *args: Any) -> None:
        with self.lock:
            before = ray_constants.DEFAULT_RUNTIME_ENV_DIR_NAME
            ray_constants.DEFAULT_RUNTIME_ENV_DIR_NAME = code_folder()
            try:
                super()._create_node_with_resources_and_labels(*args)  # type: ignore[no-untyped-call] # of Ray's
            finally:
                ray_constants.DEFAULT_RUNTIME_ENV_DIR_NAME = before
