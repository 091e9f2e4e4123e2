"""Process groups of a few ranks without Ray: gloo between processes of this machine."""

import multiprocessing
import traceback
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

LIMIT_S = 40.0


class RanksFailedError(Exception):
    """A rank raised, died or gave no answer; the text says which, and what it raised."""


@dataclass(frozen=True)
class Raised:
    """What a rank raised."""

    error: Exception
    trace: str


@dataclass(frozen=True)
class Died:
    """What is left of a rank that ended without an answer."""

    exit_code: int | None


def run_ranks(world: int, job: Callable[..., Any], *args: object, folder: Path) -> list[Any]:
    """What `job(*args)` returned on each rank of a new process group.

    Args:
        job: a function of a module, so that another process can import it.
    """
    results = try_ranks(world, job, *args, folder=folder)
    for rank, result in enumerate(results):
        if isinstance(result, Died | Raised):
            raise RanksFailedError(f"rank {rank} of {world}: {getattr(result, 'trace', result)}")
    return results


def try_ranks(world: int, job: Callable[..., Any], *args: object, folder: Path) -> list[Any]:
    """The same, with the error or the death of a rank in the place of its result."""
    # Forked from a server that has imported all that DDP needs: a start takes no second.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch._dynamo", "tests.support.rank_jobs"])
    meeting = folder / f"ranks-{uuid.uuid4().hex}"
    ranks = []
    for rank in range(world):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_run, args=(theirs, str(meeting), rank, world, job, args))
        process.start()
        theirs.close()
        ranks.append((process, ours))
    try:
        return [_result(process, pipe) for process, pipe in ranks]
    finally:
        for process, pipe in ranks:
            process.kill()
            process.join()
            process.close()
            pipe.close()


def _result(process: Any, pipe: Connection) -> object:
    if not pipe.poll(LIMIT_S):
        raise RanksFailedError(f"a rank gave no answer in {LIMIT_S:g} s")
    try:
        return pipe.recv()
    except EOFError:
        process.join()
        return Died(process.exitcode)


def _run(
    pipe: Connection,
    meeting: str,
    rank: int,
    world: int,
    job: Callable[..., Any],
    args: tuple[object, ...],
) -> None:
    torch.set_num_threads(1)
    try:
        if world > 1:
            dist.init_process_group(
                "gloo", init_method=f"file://{meeting}", rank=rank, world_size=world
            )
        pipe.send(job(*args))
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent is told
        pipe.send(Raised(error, traceback.format_exc()))
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
