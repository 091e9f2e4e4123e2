"""Ray Train with fewer processes between `fit()` and the first step.

All that we use of Ray Train beyond its public names is in this file (Ray 2.60). With two cores, the
start of a run is the imports of its processes, one after another: each process less is felt.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import ray
from ray._raylet import RAY_NODE_ID_KEY  # type: ignore[attr-defined] # compiled, untyped
from ray.train import Result
from ray.train._internal.base_worker_group import BaseWorkerGroup
from ray.train._internal.utils import get_address_and_port
from ray.train.backend import Backend, BackendConfig
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.constants import ENV_VARS_TO_PROPAGATE
from ray.train.v2._internal.execution.callback import WorkerGroupCallback
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2.api.callback import RayTrainCallback
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.util import placement_group_table, remove_placement_group
from ray.util.placement_group import PlacementGroup

from orchestrator.run import rendezvous

if TYPE_CHECKING:
    from ray.actor import ActorHandle

# As long as Ray's own backend waits for workers to leave their group.
_LEAVE_S = 30.0


class _Call(Protocol):
    def remote(self) -> ray.ObjectRef[Result]: ...


class _Controller(Protocol):
    run: _Call
    get_result: _Call


class AttemptTrainer(DataParallelTrainer):
    """Ray's trainer, less what an attempt of ours does not need.

    - The controller and the workers start with the environment that they inherit. Ray gives them
      one of their own, and so starts an interpreter twice for each.
    - No actor hands out the data sets: the workers get their share of the streams from the driver.
    - No actor outlives the controller to free the workers' places: the driver does that. Ray's asks
      a dashboard, which an embedded Ray lacks, and stays behind for ever.
    """

    _controller: _Controller | None = None
    _ended = False

    def end(self) -> None:
        """Ends what `fit` has not come to the end of, where nobody waits for that any more.

        Left alone, its controller would go on looking for places for its workers.
        """
        self._ended = True
        if self._controller is not None:
            ray.kill(cast("ActorHandle[object]", self._controller))

    def _create_default_callbacks(self) -> list[RayTrainCallback]:
        callbacks = super()._create_default_callbacks()
        left_out = (DatasetsCallback, PlacementGroupCleanerCallback)
        return [*(c for c in callbacks if not isinstance(c, left_out)), _InheritedEnvironment()]

    def _initialize_and_run_controller(self, **arguments: object) -> Result:
        here = {RAY_NODE_ID_KEY: ray.get_runtime_context().get_node_id()}
        actor = ray.remote(TrainController).options(num_cpus=0, label_selector=here)
        # Ray's types take the methods of an actor for those of its class.
        controller = cast("_Controller", actor.remote(**arguments))
        self._controller = controller
        if self._ended:
            self.end()
        ray.get(controller.run.remote())
        result = ray.get(controller.get_result.remote())
        self._controller = None
        return result


class _InheritedEnvironment(WorkerGroupCallback):
    """Keeps Ray's settings out of the workers' own environment while they are being started."""

    @contextmanager
    def on_worker_group_start(self) -> Iterator[None]:
        """Called by Ray on its controller, around the start."""
        kept = {name: os.environ.pop(name) for name in ENV_VARS_TO_PROPAGATE & os.environ.keys()}
        try:
            yield
        finally:
            os.environ.update(kept)


@dataclass
class ProcessGroup(BackendConfig):
    """The process group of torch, as Ray's `TorchConfig` makes it.

    Only the workers import torch for it: it would be the longest import of the controller.
    """

    backend: str
    # Longer than a hang is waited for: who waits for the one that hangs is not to end first.
    timeout_s: int = 1800

    @property
    def backend_cls(self) -> type[Backend]:
        return _ProcessGroupBackend


class _ProcessGroupBackend(Backend):
    # So that the workers of a node can exchange tensors between their GPUs.
    share_cuda_visible_devices = True

    def on_start(self, worker_group: BaseWorkerGroup, backend_config: BackendConfig) -> None:
        assert isinstance(backend_config, ProcessGroup)
        address, port = worker_group.execute_single(0, get_address_and_port)
        workers = len(worker_group)
        joining = [
            worker_group.execute_single_async(
                rank,
                _join,
                backend_config.backend,
                rank,
                workers,
                address,
                port,
                backend_config.timeout_s,
            )
            for rank in range(workers)
        ]
        ray.get(joining)  # type: ignore[arg-type] # Ray names its own references in two ways

    def on_shutdown(self, worker_group: BaseWorkerGroup, backend_config: BackendConfig) -> None:
        del backend_config
        leaving: list[object] = [*worker_group.execute_async(_leave)]
        ray.wait(leaving, num_returns=len(leaving), timeout=_LEAVE_S)


def _join(backend: str, rank: int, workers: int, address: str, port: int, timeout_s: int) -> None:
    from ray.train.torch import config  # imports torch, which only the workers are to do

    os.environ.update({"MASTER_ADDR": address, "MASTER_PORT": str(port)})
    if rank == 0:
        rendezvous.meet_on_loopback(address, port)
    config._set_torch_distributed_env_vars()  # type: ignore[no-untyped-call] # Ray's own
    config._setup_torch_process_group(backend, rank, workers, "env://", timeout_s)


def _leave() -> None:
    from ray.train.torch import config  # as above

    config._shutdown_torch(destroy_process_group=True)  # type: ignore[no-untyped-call] # Ray's own
    rendezvous.leave()


def free_places() -> None:
    """Frees the places of this job's training workers, where a controller died before it did."""
    job = ray.get_runtime_context().get_job_id()
    for group in placement_group_table().values():
        # The number of the job is the end of the group's.
        if group["state"] != "REMOVED" and str(group["placement_group_id"]).endswith(job):
            number = ray.PlacementGroupID(bytes.fromhex(group["placement_group_id"]))
            remove_placement_group(PlacementGroup(number))
