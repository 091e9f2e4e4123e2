"""The counts of a split's rows as a file: what each row gives, and of what that was counted."""

import hashlib
import json
import zlib
from dataclasses import dataclass

import numpy as np

from orchestrator.plan.origins import Counts


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredCounts:
    """Counts, int32 [rows], and the `key` that `Counting` has for them."""

    key: str
    counts: Counts


def counts_file(split: str) -> str:
    """The name of the file in a run's directory."""
    return f"counts-{split}.bin"


def dump_counts(stored: StoredCounts) -> bytes:
    """A line of JSON that says what follows, then the counts, compressed."""
    body = zlib.compress(stored.counts.astype("<i4", copy=False).tobytes(), 1)
    head = {
        "key": stored.key,
        "rows": len(stored.counts),
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    return json.dumps(head).encode() + b"\n" + body


def parse_counts(data: bytes) -> StoredCounts:
    """What `dump_counts` gave.

    Raises:
        ValueError: these are other bytes.
    """
    line, _, body = data.partition(b"\n")
    try:
        head = json.loads(line)
        if hashlib.sha256(body).hexdigest() != head["sha256"]:
            raise ValueError("it does not match its own checksum")
        counts = np.frombuffer(zlib.decompress(body), dtype="<i4").astype(np.int32, copy=False)
        if len(counts) != head["rows"]:
            raise ValueError(f"it has the counts of {len(counts)} rows instead of {head['rows']}")
        return StoredCounts(key=str(head["key"]), counts=counts)
    except (KeyError, TypeError, zlib.error) as error:
        raise ValueError(f"it is no file of counts: {error}") from error
