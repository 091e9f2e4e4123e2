"""The streams of one attempt, as this rank reads them."""

from collections.abc import Iterator

from orchestrator.data.deaths import named_deaths
from orchestrator.data.feed import Feed, LocalBatch, begin_early
from orchestrator.data.split import take_blocks
from orchestrator.plan.geometry import Cursor
from orchestrator.plan.open_epoch import OpenEpoch
from orchestrator.plan.stream import StreamPlan
from orchestrator.train.config import WorkerConfig
from orchestrator.train.passes import ValidationPasses
from orchestrator.train.stepper import world


def open_training(config: WorkerConfig) -> tuple[Feed, Iterator[LocalBatch]]:
    """The batches from the attempt's step on; they begin to flow at once."""
    (stream, span), *_ = config.plan.streams_from(config.step, config.open_epoch)
    geometry = stream.geometry
    feed = _feed(
        config,
        stream,
        span,
        first=geometry.cursor(config.step),
        end=geometry.cursor(config.plan.total_steps),
        open_epoch=config.open_epoch,
    )
    return feed, begin_early(feed)


def open_validation(config: WorkerConfig) -> ValidationPasses | None:
    """The passes that are still to come, None where there is none; they begin to flow at once."""
    _, *validation = config.plan.streams_from(config.step)
    if not validation:
        return None
    ((stream, span),) = validation
    geometry = stream.geometry
    # A pass over the validation rows is to its stream what an epoch is to the training stream.
    first = Cursor(epoch=span.start // geometry.superblocks_per_epoch, step=0)
    batches = begin_early(_feed(config, stream, span, first=first))
    return ValidationPasses(batches, steps=geometry.steps_per_epoch)


def _feed(
    config: WorkerConfig,
    stream: StreamPlan,
    span: range,
    *,
    first: Cursor,
    end: Cursor | None = None,
    open_epoch: OpenEpoch | None = None,
) -> Feed:
    rank, workers = world()
    blocks = take_blocks(config.readers[stream.split][rank], stream)
    uses = [transform.use for transform in stream.transforms]
    return Feed(
        named_deaths(blocks, uses, through_coordinator=True),
        stream.geometry,
        rank=rank,
        workers=workers,
        first=first,
        last_superblock=span.stop,
        end=end,
        open_epoch=open_epoch,
        relaxed=stream.relaxed,
    )
