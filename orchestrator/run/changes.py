"""Whether a run may go on under a plan: what has changed since its checkpoint, by name."""

import json
from collections.abc import Mapping
from pathlib import Path

from orchestrator.checkpoint.manifest import Manifest
from orchestrator.errors import PlanError
from orchestrator.plan.fingerprint import (
    CODE_SUFFIX,
    COUNTS_PART,
    DATA_PART,
    SHUFFLE_PART,
    counted_transforms,
    differences,
)
from orchestrator.plan.index import file_changes
from orchestrator.plan.job import JobPlan
from orchestrator.redaction.redactor import Redactor
from orchestrator.symbols.find import find_module

# Beside the checkpoints and not in them: a data set may have very many files.
DATA_FILE = "data.json"


def data_record(plan: JobPlan) -> str:
    """The content of DATA_FILE: the files of the training data, for naming what changes later."""
    redactor = Redactor(plan.spec.variables)
    found = plan.train.index.listing(plan.spec.runtime.data_root)
    listing = {redactor.text(path): digest for path, digest in found.items()}
    columns = {column.name: column.dtype for column in plan.train.index.columns}
    digest = plan.fingerprint.parts[DATA_PART]
    return json.dumps({"digest": digest, "columns": columns, "files": listing}, indent=0)


def check_unchanged(parts: Mapping[str, str], plan: JobPlan) -> None:
    """Refuses to go on from a checkpoint whose rows were others, or looked otherwise.

    Args:
        parts: the parts of the order fingerprint that the checkpoint was written under.

    Raises:
        PlanError: with a line for each thing that has changed.
    """
    # What is not known yet has not changed; windows, too, follow from how many rows are left.
    unknown = () if plan.is_counted else (COUNTS_PART, SHUFFLE_PART)
    was, now = (
        {name: part for name, part in each.items() if name not in unknown}
        for each in (parts, plan.fingerprint.parts)
    )
    lines = differences(was, now)
    if not lines:
        return
    if DATA_PART in lines:
        lines[DATA_PART] = _data_changes(parts.get(DATA_PART), plan)
    for name, transform in counted_transforms(plan.spec):
        # Where a transform is new or gone, it is not its code that changed.
        part = f"{name}{CODE_SUFFIX}"
        if part in lines and part in parts:
            lines[part] = f"{name}: {_code_change(transform.use, plan)}"
    listed = "".join(f"\n  {line}" for line in lines.values())
    raise PlanError(
        f"the run {plan.spec.name!r} cannot go on from its checkpoint, because what decides its"
        f" rows has changed:{listed}",
        hint="--fresh starts over under the same name and keeps the old run aside; --name gives the"
        " changed job a run of its own",
    )


def check_strategy(manifest: Manifest, plan: JobPlan) -> None:
    """Refuses to go on from a checkpoint that the plan's workers cannot read.

    Raises:
        PlanError: it was written with another training.strategy.
    """
    was, now = manifest.strategy, plan.spec.training.strategy
    if was != now:
        raise PlanError(
            f"the run {plan.spec.name!r} cannot go on from {manifest.name}: it was written with"
            f" training.strategy: {was}, and this is {now}",
            hint=f"go on with {was}; --name gives the changed job a run of its own",
        )


def _data_changes(digest: str | None, plan: JobPlan) -> str:
    old = _read_record(plan.run_dir / DATA_FILE, digest)
    if old is None:
        return f"{DATA_PART}: the files of dataset.train changed"
    new = json.loads(data_record(plan))
    lines = file_changes(old["files"], new["files"])
    was, now = (
        {f"column {name!r}": kind for name, kind in record["columns"].items()}
        for record in (old, new)
    )
    lines += differences(was, now).values()
    # What is left: other row groups, or gaps where there were none.
    return f"{DATA_PART}: " + ("; ".join(lines) or "the files are cut into other row groups")


def _read_record(path: Path, digest: str | None) -> dict[str, dict[str, str]] | None:
    """The record of the data with this digest; None where it is not there, or of other data."""
    try:
        content = json.loads(path.read_text())
        if content.pop("digest") == digest:
            return {"files": dict(content["files"]), "columns": dict(content["columns"])}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return None


def _code_change(use: str, plan: JobPlan) -> str:
    """The file that has changed, relative to the user's code where it lies there."""
    root = Path(plan.spec.runtime.working_dir)
    file = find_module(use, root)
    shown = file.relative_to(root) if file.is_relative_to(root) else file
    return f"{shown} changed"
