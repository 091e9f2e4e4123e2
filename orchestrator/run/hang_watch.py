"""Looks at the ranks' beats while an attempt is at work, and ends a group of which one hangs."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

import ray
from pydantic import JsonValue
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.run.directory import RunDirectory
from orchestrator.run.failure import Failure
from orchestrator.run.hang import HangJudge, Verdict
from orchestrator.run.stacks import (
    Examined,
    Frame,
    RankProcess,
    end_here,
    stack_of,
    stacks_as_text,
    telling,
    waits_for_data,
)
from orchestrator.train.beat import (
    BEATS_FOLDER,
    Beat,
    beats_folder,
    pulse_period,
    read_beats,
    stack_path,
)
from orchestrator.units import format_duration

# For a process on another node to start, find the ranks and end them.
_REMOTE_LIMIT_S = 30.0
# Stacks that the event holds; all of them are in the file.
_STACKS_TOLD = 8

EndRanks = Callable[[Sequence[RankProcess]], Mapping[int, Examined]]


class Telling(Protocol):
    """Writes down an event of the attempt."""

    def __call__(self, event: str, **fields: JsonValue) -> None: ...


class HangWatch:
    """Watches one attempt.

    Args:
        logs: where the stacks of all threads of all ranks go.
        end_ranks: gets the stacks of ranks, wherever they are, and kills them.
    """

    def __init__(
        self,
        run_dir: Path,
        attempt: int,
        *,
        limit_s: float,
        logs: Path,
        tell: Telling,
        end_ranks: EndRanks | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run_dir = run_dir
        self._folder = beats_folder(run_dir, attempt)
        self._attempt = attempt
        self._limit_s = limit_s
        self._logs = logs
        self._tell = tell
        self._end_ranks = end_ranks or end_ranks_anywhere
        self._clock = clock
        self._period_s = pulse_period(limit_s)
        self._judge = HangJudge(limit_s=limit_s, longest_gap_s=2 * self._period_s)
        self._looked_at = -self._period_s
        self.reason: str | None = None
        """What hung, once something has."""
        # What drivers before were killed over.
        self.close()

    def check(self) -> None:
        """Called several times a second; ends the ranks, and so the attempt, if they hang."""
        now = self._clock()
        if now - self._looked_at < self._period_s:
            return
        self._looked_at = now
        beats = read_beats(self._folder)
        if (verdict := self._judge.look(beats, now=now)) is not None:
            self._end(verdict, beats)
            # Ray sees the dead within seconds; if not, they are ended once more.
            self._judge.begin_again()

    def failure(self, *, step: int) -> Failure | None:
        """What the attempt failed of, where that was a hang."""
        if self.reason is None:
            return None
        return Failure(reason=self.reason, step=step, died=True, kind="hang")

    def close(self) -> None:
        """Removes the beats: they are of no use without an attempt."""
        shutil.rmtree(self._run_dir / BEATS_FOLDER, ignore_errors=True)

    def _end(self, verdict: Verdict, beats: Mapping[int, Beat]) -> None:
        running = {rank: beat for rank, beat in beats.items() if not beat.ended}
        found = self._end_ranks(
            [_process(self._folder, beat) for _, beat in sorted(running.items())]
        )
        stacks = {rank: stack_of(seen.dump, running[rank].thread) for rank, seen in found.items()}
        self.reason = describe_hang(verdict, found, stacks, workers=len(running))
        log = self._logs / f"hang-attempt-{self._attempt}.txt"
        log.write_text(stacks_as_text(found))
        first = verdict.suspects[0]
        told = sorted(stacks, key=lambda rank: (rank not in verdict.suspects, rank))
        self._tell(
            "hang",
            rank=first,
            ranks=list(verdict.suspects),
            step=verdict.step,
            seconds=round(verdict.seconds, 3),
            reason=self.reason,
            stack=_lines(stacks.get(first, [])),
            stacks={str(rank): _lines(stacks[rank]) for rank in told[:_STACKS_TOLD]},
            log=log.name,
        )


def open_hang_watch(
    timeout: float | Literal["off"], directory: RunDirectory, attempt: int, *, tell: Telling
) -> HangWatch | None:
    """The watch that the spec asks for."""
    if timeout == "off":
        return None
    return HangWatch(directory.path, attempt, limit_s=timeout, logs=directory.logs, tell=tell)


def describe_hang(
    verdict: Verdict,
    found: Mapping[int, Examined],
    stacks: Mapping[int, Sequence[Frame]],
    *,
    workers: int,
) -> str:
    """What hung and where, in one line."""
    for_long = f"hang: no progress for {format_duration(verdict.seconds)} after step {verdict.step}"
    ranks = verdict.suspects
    who = f"worker {ranks[0]}" if len(ranks) == 1 else f"workers {', '.join(map(str, ranks[:5]))}"
    if len(ranks) > 5:
        who += f" and {len(ranks) - 5} others"
    if verdict.missing:
        return f"{for_long}: {who} never began to train"
    if verdict.frozen and any(found[r].status == "stopped" for r in ranks if r in found):
        return f"{for_long}: {who} was stopped by a signal{_place(ranks[0], stacks)}"
    if verdict.frozen:
        why = "runs no Python: compiled code keeps its lock, or the machine is out of reach"
        return f"{for_long}: {who} {why}{_place(ranks[0], stacks)}"
    if all(waits_for_data(stacks.get(rank, [])) for rank in ranks):
        return f"{for_long}: the stream is stuck, no data came for {who}"
    if len(ranks) == workers > 1:
        return f"{for_long}: all workers are at the same place{_place(ranks[0], stacks)}"
    return f"{for_long}: {who} hangs{_place(ranks[0], stacks)}"


def end_ranks_anywhere(ranks: Sequence[RankProcess]) -> dict[int, Examined]:
    """The stacks of ranks on all nodes; kills them. What a node does not answer is left out."""
    here = ray.get_runtime_context().get_node_id()
    nodes: dict[str, list[RankProcess]] = {}
    for rank in ranks:
        nodes.setdefault(rank.node, []).append(rank)
    # Others first: they need time to start. One that needs no CPU has a place on any node.
    task = ray.remote(num_cpus=0, max_retries=0)(end_here)
    answers = [
        task.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=node, soft=False)
        ).remote(there)
        for node, there in nodes.items()
        if node != here
    ]
    found = end_here(nodes.get(here, []))
    if not answers:
        return found
    done, _ = ray.wait(answers, num_returns=len(answers), timeout=_REMOTE_LIMIT_S)
    for answer in done:
        try:
            found.update(ray.get(answer))
        except RayError:  # a node that has just died; Ray ends the group itself
            continue
    return found


def _process(folder: Path, beat: Beat) -> RankProcess:
    return RankProcess(
        rank=beat.rank,
        node=beat.node,
        pid=beat.pid,
        birth=beat.birth,
        thread=beat.thread,
        stacks=stack_path(folder, beat.rank),
    )


def _place(rank: int, stacks: Mapping[int, Sequence[Frame]]) -> str:
    frame = telling(stacks.get(rank, []))
    return f", in {frame.function} ({frame.file}:{frame.line})" if frame is not None else ""


def _lines(frames: Sequence[Frame]) -> list[JsonValue]:
    return [str(frame) for frame in frames]
