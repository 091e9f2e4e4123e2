"""The order fingerprint: what decides which rows are in which batch, and how they look."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.plan.order import permutation_check
from orchestrator.plan.sources import Mixture
from orchestrator.plan.stream import StreamPlan
from orchestrator.redaction.names import is_secret_name
from orchestrator.redaction.redactor import Redactor
from orchestrator.spec.job import JobSpec
from orchestrator.spec.transform import TransformSpec

DATA_PART = "data"
COUNTS_PART = "what the rows give"
SHUFFLE_PART = "shuffle"
CODE_SUFFIX = ", code"
_ARGUMENTS_SUFFIX = ", arguments"
_KIND_SUFFIX = ", kind"

_SHOWN = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class Fingerprint:
    """Named parts, so that a difference can be named, and one digest over them."""

    parts: Mapping[str, str]

    @property
    def digest(self) -> str:
        text = json.dumps(dict(self.parts), sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()


def order_fingerprint(
    spec: JobSpec, stream: StreamPlan, transform_hashes: Mapping[str, str]
) -> Fingerprint:
    """The fingerprint of a job's training stream.

    Args:
        transform_hashes: the source fingerprint of each transform the spec refers to.
    """
    shuffle = spec.dataset.shuffle.type
    window = stream.geometry.window_steps * stream.geometry.batch
    whole = window >= stream.geometry.rows
    parts = {
        DATA_PART: stream.index.digest(spec.runtime.data_root),
        "seed": str(spec.seed),
        "training.global_batch_size": str(stream.geometry.batch),
        SHUFFLE_PART: shuffle if shuffle != "window" else f"window of {'all' if whole else window}",
        "shuffle generator": permutation_check(),
    }
    if stream.mixture is not None:
        parts |= _mixture_parts(stream.mixture, stream.index.fragment_rows)
    for name, transform in counted_transforms(spec):
        parts[f"{name}{_ARGUMENTS_SUFFIX}"] = _arguments(transform, spec.variables)
        if transform.changes_rows:
            length = f" to {transform.length}" if transform.length else ""
            parts[f"{name}{_KIND_SUFFIX}"] = f"{transform.kind}{length}"
        parts[f"{name}{CODE_SUFFIX}"] = transform_hashes[transform.use]
    counting = stream.counting
    if counting is not None and counting.most_errors is not None:
        # Said before any row is looked at, where a checkpoint is of a run that did not.
        parts["dataset.on_error"] = "quarantine"
    if counting is not None and counting.digests is not None:
        parts[COUNTS_PART] = hashlib.sha256(counting.digests.tobytes()).hexdigest()
    return Fingerprint(parts=parts)


def _arguments(transform: TransformSpec, variables: Mapping[str, str]) -> str:
    """The arguments as text without secrets.

    A password that was changed makes no other rows. Any other variable may, so that a digest then
    stands for the values.
    """
    secrets = {name: value for name, value in variables.items() if is_secret_name(name)}
    text = Redactor(secrets).text(json.dumps(transform.with_, sort_keys=True))
    shown = Redactor(variables).text(text)
    return text if shown == text else f"{shown} {hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _mixture_parts(mixture: Mixture, fragment_rows: NDArray[np.int64]) -> dict[str, str]:
    """Where each source begins and ends, and the weights from each position on."""
    sources = [
        f"{source.name}: {int(fragment_rows[source.start : source.stop].sum())} rows"
        for source in mixture.sources
    ]
    weights = {f"weights from row {phase.start}": mixture.told(phase) for phase in mixture.phases}
    return {"sources": ", ".join(sources), **weights}


def counted_transforms(spec: JobSpec) -> Iterator[tuple[str, TransformSpec]]:
    """The transforms of the training rows, each with the name that its parts begin with."""
    used = [transform for transform in spec.transforms if "train" in transform.splits]
    for position, transform in enumerate(used, start=1):
        yield f"transform {position} ({transform.use})", transform


def differences(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """A line for each part that differs, by the name of the part; hashes are not shown."""
    lines = {}
    for name in sorted(old.keys() | new.keys()):
        was, now = old.get(name), new.get(name)
        if was == now:
            continue
        if was is None or now is None:
            # Of a transform both parts are, and it is named once.
            whole = name.removesuffix(CODE_SUFFIX).removesuffix(_ARGUMENTS_SUFFIX)
            whole = whole.removesuffix(_KIND_SUFFIX)
            lines[whole] = f"{whole} is {'new' if was is None else 'gone'}"
        elif name in (DATA_PART, COUNTS_PART) or name.endswith(CODE_SUFFIX):
            lines[name] = f"{name} changed"
        else:
            lines[name] = "{} was {}, is now {}".format(name, *_apart(was, now))
    return lines


def _apart(was: str, now: str) -> tuple[str, str]:
    """Both values; where they are long, from a little before they begin to differ."""
    pairs = enumerate(zip(was, now, strict=False))
    same = next((place for place, (old, new) in pairs if old != new), min(len(was), len(now)))
    start = max(0, same - 12) if max(len(was), len(now)) > _SHOWN else 0
    return _excerpt(was, start), _excerpt(now, start)


def _excerpt(value: str, start: int) -> str:
    shown = value[start : start + _SHOWN]
    return ("..." if start else "") + shown + ("..." if start + _SHOWN < len(value) else "")
