"""Ray Train and Ray Data by hand: python -m benchmarks.scripts.torch_trainer ARGUMENTS-AS-JSON.

`tuned` is what someone makes of it who has measured its start; otherwise Ray's defaults.
"""

import json
import os
import sys
from pathlib import Path

TUNED = {
    # By default 32 actors read the footers of the files, and a death is noticed after 2 seconds.
    "RAY_DATA_PARQUET_FOOTER_NUM_ACTORS": "1",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}


def main(
    *, data: str, stamps: str, storage: str, workers: int, epochs: int, tuned: bool, address: str
) -> None:
    """Trains; `address` is that of a cluster, or "local" for a Ray of its own."""
    if tuned:
        os.environ.update(TUNED)
    import ray.data
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    from benchmarks.workloads.tabular_work import COLUMNS, preprocess

    if address == "local":
        # Without enough logical CPUs the two deadlock on a small machine, tuned or not.
        ray.init(address="local", num_cpus=8, include_dashboard=False if tuned else None)
    else:
        variables = TUNED if tuned else {}
        environment = {"working_dir": str(Path.cwd()), "env_vars": variables}
        ray.init(address=address, runtime_env=environment)
    rows = ray.data.read_parquet(data, columns=list(COLUMNS))
    if tuned:
        pool = ray.data.ActorPoolStrategy(size=2, max_tasks_in_flight_per_actor=4)
        rows = rows.map_batches(Preprocess, batch_size=8_192, compute=pool, zero_copy_batch=True)
    else:
        rows = rows.map_batches(preprocess)  # type: ignore[arg-type] # of NumPy's types
    trainer = TorchTrainer(
        train,
        train_loop_config={"stamps": stamps, "epochs": epochs},
        scaling_config=ScalingConfig(num_workers=workers),
        torch_config=TorchConfig(backend="gloo"),
        datasets={"train": rows},
        run_config=RunConfig(name="script", storage_path=storage),
    )
    trainer.fit()
    ray.shutdown()


class Preprocess:
    """The same function in workers that stay."""

    def __call__(self, batch: dict[str, object]) -> dict[str, object]:
        from benchmarks.workloads.tabular_work import preprocess

        return preprocess(batch)  # type: ignore[arg-type,return-value] # the columns are arrays, which Ray does not say


def train(config: dict[str, object]) -> None:
    """One rank."""
    import ray.train
    from ray.train.torch import prepare_model

    from benchmarks.workloads.stamped_work import BATCH, build_model, build_optimizer, losses_of

    model = prepare_model(build_model())
    optimizer = build_optimizer(model, Path(str(config["stamps"])))
    shard = ray.train.get_dataset_shard("train")
    share = BATCH // ray.train.get_context().get_world_size()
    for _ in range(int(str(config["epochs"]))):
        for batch in shard.iter_torch_batches(batch_size=share, prefetch_batches=2, drop_last=True):
            optimizer.zero_grad()
            losses_of(model, batch).mean().backward()
            optimizer.step()


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
