"""An exported model, read without Ray: `orchestrator.export.load(folder)`."""

from orchestrator.export.load import Exported, load
from orchestrator.export.manifest import ExportManifest

__all__ = ["ExportManifest", "Exported", "load"]
