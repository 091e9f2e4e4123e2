"""A record of the ledger: which batches of a superblock a rank trained, as which steps of a run."""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from orchestrator.plan.origins import Origins

Records = NDArray[np.void]

DIGEST_BYTES = 8

# Rank `rank` trained the batches [offset, offset + steps) of a superblock as the steps
# [step, step + steps) of the run, both counted from 0: `rows` samples, whose origins have `digest`.
RECORD = np.dtype(
    [
        ("rank", "<i4"),
        ("offset", "<i4"),
        ("step", "<i8"),
        ("superblock", "<i8"),
        ("rows", "<i8"),
        ("steps", "<i4"),
        ("digest", f"V{DIGEST_BYTES}"),
    ]
)


def join_records(pieces: Iterable[Records]) -> Records:
    """All records, end to end."""
    return np.concatenate([np.empty(0, dtype=RECORD), *pieces])


def digest_of(shares: Sequence[Origins]) -> bytes:
    """The digest of a rank's shares of consecutive steps."""
    text = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for share in shares:
        text.update(share.evidence())
    return text.digest()
