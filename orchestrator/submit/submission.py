"""A job on its way to a cluster: its package, its command, what it says of itself."""

import secrets
import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.checkpoint.files import storage_errors
from orchestrator.spec.dump import dump_job
from orchestrator.spec.job import JobSpec
from orchestrator.submit.environment import runtime_environment, secret_variables
from orchestrator.submit.package import DEFAULT_LIMIT, SPEC_FILE, contents_of, write_package
from orchestrator.submit.placing import (
    check_code_travels,
    check_data_travels,
    placed,
    run_dir_of,
    stays_in_place,
)
from orchestrator.submit.secret_file import write_secret_file
from orchestrator.submit.status import RUN_DIR_KEY, RUN_KEY
from orchestrator.symbols.find import find_module

if TYPE_CHECKING:
    from pydantic import JsonValue

DRIVER_STARTS = 3
"""How often a submitted job starts its driver again, where its spec does not say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """All that a job server is told, and the package that goes with it.

    Attributes:
        run: name of the run.
        run_dir: where that lies, as the cluster's nodes see it.
        entrypoint: the job's command, for a shell.
        package: the zip file with code and spec.
        runtime_env: Ray's, with the package as its `working_dir`.
    """

    run: str
    run_dir: Path
    entrypoint: str
    package: Path
    runtime_env: "Mapping[str, JsonValue]"

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the job says of itself on the cluster."""
        return {RUN_KEY: self.run, RUN_DIR_KEY: str(self.run_dir)}


@contextmanager
def prepared(
    spec: JobSpec,
    *,
    here: bool,
    fresh: bool = False,
    trust: bool = False,
    limit: int = DEFAULT_LIMIT,
    excludes: Sequence[str] = (),
) -> Iterator[Submission]:
    """Packs a job; the package is gone afterwards.

    Args:
        here: whether the cluster sees this machine's files.
        fresh: the job is to start the run over.
        trust: the spec may add packages to the job's environment.
        limit: bytes that may travel.
        excludes: patterns of what does not.

    Raises:
        SpecError: it cannot be packed, or would not find its data.
    """
    job = _supervised(placed(spec, here=here))
    stays = (*spec.runtime.excludes, *excludes, *stays_in_place(spec, here=here))
    contents = contents_of(Path(spec.runtime.working_dir), limit=limit, excludes=stays)
    check_code_travels(_modules(spec), contents)
    check_data_travels(job, contents)
    with tempfile.TemporaryDirectory(prefix="orc-package-") as folder:
        package = write_package(contents, dump_job(job), Path(folder) / "package.zip")
        with _secrets(spec, run_dir_of(job), here=here) as secret_file:
            yield Submission(
                run=spec.name,
                run_dir=run_dir_of(job),
                entrypoint=shlex.join(_command(here=here, fresh=fresh)),
                package=package,
                runtime_env=runtime_environment(
                    spec, trust=trust, package=package, secret_file=secret_file
                ),
            )


@contextmanager
def _secrets(spec: JobSpec, run_dir: Path, *, here: bool) -> Iterator[Path | None]:
    """The file with the job's secrets, beside its run; gone where the job is not submitted.

    A cluster elsewhere cannot read it: there the variables have to be in its own environment.
    """
    variables = secret_variables(spec)
    if not (variables and here):
        yield None
        return
    with storage_errors("make", run_dir.parent):
        run_dir.parent.mkdir(parents=True, exist_ok=True)
    number = secrets.token_hex(4)
    file = write_secret_file(run_dir.parent / f".{spec.name}.{number}.secrets", variables)
    try:
        yield file
    except BaseException:
        file.unlink(missing_ok=True)
        raise


def _command(*, here: bool, fresh: bool) -> list[str]:
    # On this machine the shell of a job need not find the Python that this command runs on.
    python = sys.executable if here else "python"
    options = ["--fresh"] if fresh else []
    return [python, "-m", "orchestrator", "run", *options, "--", SPEC_FILE]


def _supervised(spec: JobSpec) -> JobSpec:
    """The spec with a supervisor: nobody is there to start a job's driver again by hand."""
    if "restart_driver" in spec.failure.model_fields_set:
        return spec
    failure = spec.failure.model_copy(update={"restart_driver": DRIVER_STARTS})
    return spec.model_copy(update={"failure": failure})


def _modules(spec: JobSpec) -> dict[str, Path]:
    root = Path(spec.runtime.working_dir)
    named = [spec.training.task, spec.training.loop, *(item.use for item in spec.transforms)]
    return {name: find_module(name, root) for name in named if name is not None}
