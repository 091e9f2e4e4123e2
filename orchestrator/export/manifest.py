"""The manifest of an exported model: where it comes from, and how to check its files."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

from pydantic import TypeAdapter, ValidationError

from orchestrator.checkpoint.files import check_hash, check_size, storage_errors
from orchestrator.checkpoint.manifest import DamagedError, FileEntry
from orchestrator.errors import CheckpointError

EXPORT_FILE = "export.json"
SPEC_FILE = "job.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportManifest:
    """What `export.json` says.

    Attributes:
        weights: the names of the parts whose weights are there, each in `NAME.safetensors`.
        versions: those that the checkpoint was written under.
        checkpoint_digest: of the checkpoint's manifest.
    """

    FORMAT_VERSION: ClassVar[int] = 1

    run: str
    checkpoint: str
    checkpoint_digest: str
    step: int
    weights: tuple[str, ...]
    metrics: dict[str, float]
    versions: dict[str, str]
    files: tuple[FileEntry, ...]
    format_version: int = FORMAT_VERSION

    def to_text(self) -> str:
        """The content of the file."""
        return json.dumps(asdict(self), indent=1) + "\n"


def read_manifest(folder: Path) -> ExportManifest:
    """The manifest of an exported model, each of whose files has been compared with it.

    Raises:
        CheckpointError: it is no exported model, of a newer format, or a file of it is damaged.
    """
    path = folder / EXPORT_FILE
    if not path.is_file():
        raise CheckpointError(f"{folder} is no exported model: it has no {EXPORT_FILE}")
    with storage_errors("read", path):
        data = path.read_bytes()
    try:
        content = json.loads(data)
        version = content["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{path} is damaged, it is no manifest of an exported model") from error
    if version != ExportManifest.FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: format_version: got {version!r}, wanted {ExportManifest.FORMAT_VERSION}",
            hint="the model was exported by another version of this program: use that version",
        )
    try:
        manifest = _ADAPTER.validate_json(data)
    except ValidationError as error:
        raise DamagedError(f"{path} is damaged: {error.error_count()} values are wrong") from error
    with storage_errors("read", folder):
        for entry in manifest.files:
            check_size(folder, entry)
            check_hash(folder, entry)
    return manifest


_ADAPTER = TypeAdapter(ExportManifest)
