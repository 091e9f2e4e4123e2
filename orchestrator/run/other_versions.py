"""What a run goes on under that its checkpoint was not written under: told, and not refused."""

from collections.abc import Mapping

from orchestrator.checkpoint.manifest import CheckpointInfo
from orchestrator.train.saving import versions


def other_versions(checkpoint: CheckpointInfo | None) -> str | None:
    """The versions that are others than those of a checkpoint, in words; None where all agree.

    What a version cannot read is refused by the format version of the manifest, and by torch.
    """
    return None if checkpoint is None else changes(checkpoint.manifest.versions, versions())


def changes(was: Mapping[str, str], now: Mapping[str, str]) -> str | None:
    """The names of both whose versions differ; what one of them does not know is no change."""
    differing = [name for name in sorted(was.keys() & now.keys()) if was[name] != now[name]]
    return ", ".join(f"{name} {was[name]} is now {now[name]}" for name in differing) or None
