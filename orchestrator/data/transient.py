"""Errors that say nothing about the bytes of a row: tried again, then raised, never quarantined."""

import gzip
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.client import HTTPException
from typing import TypeVar

from orchestrator.data.blame import RowsAtHand, UserCodeError

Result = TypeVar("Result")

# Seconds between the tries of a call that failed for a reason outside its rows.
RETRY_PAUSES_S = (0.5, 2.0, 8.0)
# Of these another try gives the same, though they are no fault of the row.
_LASTING = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError)
# What libraries raise for bytes that make no sense, though it is an OSError: a class of Pillow by
# its name, which need not be installed.
_OF_BYTES = {(gzip.BadGzipFile.__module__, "BadGzipFile"), ("PIL", "UnidentifiedImageError")}

_log = logging.getLogger(__name__)


def is_outside(error: BaseException) -> bool:
    """Whether an error, or what brought it about, comes from outside the row: storage, memory.

    An OSError without a number is what decoders raise for bytes that make no sense; storage and
    connections that fail have a number, or a class of their own.
    """
    return any(_is_outside(link) for link in _chain(error))


def retried(call: Callable[[], Result], where: Callable[[int, int], str]) -> Result:
    """What a call of the user's code gives, made again where something outside its rows failed.

    Args:
        where: says in words which rows [start, stop) of the call are.

    Raises:
        UserCodeError: it raised because of its rows.
        DataError: it went on failing for a reason outside of them.
    """
    for pause in (*RETRY_PAUSES_S, None):
        try:
            return call()
        except UserCodeError as failed:
            if not is_outside(failed.error):
                raise
            told = failed.told(where(failed.start, failed.stop))
            told.hint = "this is no fault of the rows, so that none of them is quarantined"
            if pause is None or isinstance(failed.error, _LASTING):
                raise told from failed.error
            _log.warning("%s; trying again in %.1f s", str(told).partition("\n")[0], pause)
            time.sleep(pause)
    raise AssertionError("the last try returns or raises")


def steady(work: Callable[[slice], Result], at_hand: RowsAtHand) -> Callable[[slice], Result]:
    """The same work on parts of the rows at hand, `retried`."""

    def tried(part: slice) -> Result:
        return retried(partial(work, part), replace(at_hand, rows=at_hand.rows[part]).told)

    return tried


def _is_outside(error: BaseException) -> bool:
    if isinstance(error, MemoryError | HTTPException):
        return True
    if not isinstance(error, OSError):
        return False
    kind = type(error)
    of_bytes = kind is OSError or (kind.__module__, kind.__name__) in _OF_BYTES
    return error.errno is not None or not of_bytes


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
