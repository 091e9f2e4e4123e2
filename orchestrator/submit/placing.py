"""Where the job's data and its run lie: what is relative here has to mean the same over there."""

import fnmatch
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from orchestrator.errors import SpecError
from orchestrator.spec.job import JobSpec
from orchestrator.spec.source import MixtureSpec
from orchestrator.submit.package import Contents

_HINT = (
    "give a path on a file system that all nodes share, or runtime.data_dir as the folder that"
    " relative paths start from there"
)


def placed(spec: JobSpec, *, here: bool) -> JobSpec:
    """The spec as the job is to read it beside its packed code.

    On a cluster of this machine data and storage stay where they are.

    Args:
        here: whether the cluster sees this machine's files.

    Raises:
        SpecError: the run would be written into the package, and be lost with the cluster.
    """
    runtime = spec.runtime
    root = Path(runtime.data_root)
    data_dir: str | None = None
    if here:
        data_dir = str(root.resolve())
    elif runtime.data_dir is not None:
        if not Path(runtime.data_dir).is_absolute():
            raise SpecError(
                f'runtime.data_dir: got "{runtime.data_dir}", wanted an absolute path: the cluster'
                " does not see this machine's files",
                hint="a folder on a file system that all nodes share",
            )
        data_dir = runtime.data_dir
    else:
        _refuse_inside(spec)
    changed = {"address": "auto", "working_dir": ".", "data_dir": data_dir}
    return spec.model_copy(update={"runtime": runtime.model_copy(update=changed)})


def run_dir_of(spec: JobSpec) -> Path:
    """Where the job's nodes see the run."""
    return Path(spec.runtime.data_root) / spec.checkpoint.storage / spec.name


def stays_in_place(spec: JobSpec, *, here: bool) -> Iterator[str]:
    """Patterns of what lies below the working directory and is never read from the package.

    These are the runs, and on a cluster of this machine the tables, which are read in place.
    """
    root, base = Path(spec.runtime.working_dir), Path(spec.runtime.data_root)
    if (storage := _below(root, base / spec.checkpoint.storage)) is not None:
        yield f"/{storage}/"
    for _, path in _data_paths(spec) if here else ():
        if (below := _below(root, base / path)) is not None:
            # Of a folder only the tables: code may lie beside them.
            yield f"/{below}/**/*.parquet" if (root / below).is_dir() else f"/{below}"


def _below(root: Path, path: Path) -> str | None:
    whole = Path(os.path.normpath(path))
    return whole.relative_to(root).as_posix() if root in whole.parents else None


def check_data_travels(spec: JobSpec, contents: Contents) -> None:
    """Refuses data that is neither in the package nor anywhere that the cluster can see.

    Raises:
        SpecError: such a path, and what to do.
    """
    if spec.runtime.data_dir is not None:
        return
    names = [file.name for file in contents.files]
    for where, path in _data_paths(spec):
        if not Path(path).is_absolute() and not _travels(path, names):
            raise SpecError(
                f'{where}: "{path}" is not in the package, and the cluster does not see this'
                " machine's files",
                hint=_HINT,
            )


def check_code_travels(modules: dict[str, Path], contents: Contents) -> None:
    """Refuses a job whose own code is on its list of what stays behind.

    Args:
        modules: the files of the code that the spec names, by reference.

    Raises:
        SpecError: such a file.
    """
    for reference, file in modules.items():
        real = file.resolve()
        if real.is_relative_to(contents.root) and not contents.has(real):
            name = real.relative_to(contents.root)
            raise SpecError(
                f"{reference}: {name} is left out of the package",
                hint=f'.orchestratorignore can take it back in: "!/{name.parts[0]}/"',
            )


def _refuse_inside(spec: JobSpec) -> None:
    checkpoint = spec.checkpoint
    if not Path(checkpoint.storage).is_absolute():
        raise SpecError(
            f'checkpoint.storage: "{checkpoint.storage}" would lie in the job\'s package, and be'
            " lost with the cluster, which does not see this machine's files",
            hint=_HINT,
        )
    mirror = checkpoint.mirror
    if mirror is not None and "://" not in mirror and not Path(mirror).is_absolute():
        raise SpecError(
            f'checkpoint.mirror: "{mirror}" would lie in the job\'s package', hint=_HINT
        )


def _data_paths(spec: JobSpec) -> Iterator[tuple[str, str]]:
    train, validation = spec.dataset.train, spec.dataset.validation
    if isinstance(train, MixtureSpec):
        for name, source in train.sources.items():
            yield from ((f"dataset.train.sources.{name}.paths", path) for path in source.paths)
    else:
        yield from (("dataset.train.paths", path) for path in train.paths)
    if validation is not None:
        yield from (("dataset.validation.paths", path) for path in validation.paths)


def _travels(path: str, names: list[str]) -> bool:
    wanted = PurePosixPath(path).as_posix()
    return any(
        name == wanted or name.startswith(f"{wanted}/") or fnmatch.fnmatchcase(name, wanted)
        for name in names
    )
