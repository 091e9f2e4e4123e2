"""An exported model in a process of its own, which needs neither Ray nor, for most of it, torch."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from orchestrator.checkpoint.files import storage_errors
from orchestrator.data.codec import Columns
from orchestrator.data.fitted import PREPROCESSING_FILE, FittedState, parse_states
from orchestrator.data.row_changes import units_of
from orchestrator.data.transforms import BoundTransform
from orchestrator.errors import CheckpointError, PlanError
from orchestrator.export.manifest import SPEC_FILE, ExportManifest, read_manifest
from orchestrator.spec.job import JobSpec
from orchestrator.spec.load import load_job
from orchestrator.spec.transform import Split

if TYPE_CHECKING:
    from torch import nn

MODEL = "model"


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A model, what its transforms were fitted to, and the spec it was trained by.

    `code` is the folder of the user's code, `environ` what `${env:NAME}` in the spec stands for.
    """

    folder: Path
    manifest: ExportManifest
    states: tuple[FittedState, ...]
    code: Path | None
    environ: Mapping[str, str]

    @cached_property
    def weights(self) -> Mapping[str, NDArray[np.generic]]:
        """The tensors of the model by name, without torch.

        Raises:
            CheckpointError: there is no part "model", or numpy has no type for a tensor of it.
        """
        return self.part(MODEL)

    def part(self, name: str) -> Mapping[str, NDArray[np.generic]]:
        """The tensors of a part, of which an own loop may have several."""
        path = self._file(name)
        try:
            return load_file(path)
        except (SafetensorError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{path} cannot be read into numpy: {error}",
                hint="safetensors.torch.load_file reads types that numpy lacks, such as bfloat16",
            ) from error

    @cached_property
    def spec(self) -> JobSpec:
        """The spec of the run.

        Raises:
            SpecError: a variable of the environment that it names is not set.
        """
        spec = load_job(self.folder / SPEC_FILE, environ=self.environ)
        if self.code is None:
            return spec
        runtime = spec.runtime.model_copy(update={"working_dir": str(self.code.absolute())})
        return spec.model_copy(update={"runtime": runtime})

    def preprocess(self, columns: Columns, *, split: Split = "validation") -> Columns:
        """What the transforms of a split make of rows: for validation, as for rows to predict.

        Args:
            columns: one entry a row; not written into.

        Raises:
            PlanError: a transform packs rows, which is done over a whole epoch.
            SpecError, DataError: the code of a transform is missing, or failed.
        """
        chosen = self._transforms(split)
        copied = {name: np.array(column) for name, column in columns.items()}
        rows = np.arange(len(next(iter(copied.values()), ())))
        return units_of(chosen, copied, rows).columns

    def model(self) -> "nn.Module":
        """The model of the run's task with its weights, on the CPU, in evaluation mode.

        Raises:
            PlanError: the run was trained by a loop, which alone knows its model.
            SpecError, CheckpointError: the task is missing, or is another one by now.
        """
        # Only this needs torch, which takes its time to load.
        from orchestrator.export.model import load_model

        return load_model(self.spec, self._file(MODEL))

    def _file(self, part: str) -> Path:
        if part not in self.manifest.weights:
            there = ", ".join(self.manifest.weights) or "nothing"
            raise CheckpointError(f"{self.folder} holds no weights of {part!r}; there is {there}")
        return self.folder / f"{part}.safetensors"

    def _transforms(self, split: Split) -> list[BoundTransform]:
        found: list[BoundTransform] = []
        uses: list[str] = []
        states = {state.position: state for state in self.states}
        position = 0
        for transform in self.spec.transforms:
            # States are counted as the training rows go through the transforms.
            position += "train" in transform.splits
            if split not in transform.splits:
                continue
            if transform.kind == "pack":
                raise PlanError(f"{transform.use} packs the rows of an epoch, not those of a call")
            found.append(
                BoundTransform(
                    transform,
                    root=Path(self.spec.runtime.working_dir),
                    seed=self.spec.seed,
                    repeat=uses.count(transform.use),
                    state=states.get(position) if "train" in transform.splits else None,
                )
            )
            uses.append(transform.use)
        return found


def load(
    folder: Path | str, *, code: Path | str | None = None, environ: Mapping[str, str] | None = None
) -> Exported:
    """Opens an exported model after checking every file of it; nothing of Ray is imported.

    Args:
        code: folder of the transforms and the task; by default the one that the run had.
        environ: what `${env:NAME}` in the spec stands for; by default that of this process.

    Raises:
        CheckpointError: it is no exported model, of a newer format, or damaged.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    path = folder / PREPROCESSING_FILE
    try:
        with storage_errors("read", path):
            states = parse_states(path.read_text()) if path.exists() else ()
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    return Exported(
        folder=folder,
        manifest=manifest,
        states=states,
        code=None if code is None else Path(code),
        environ=os.environ if environ is None else environ,
    )
