"""The runtime environment of a submitted job: what a spec may ask of a cluster, and nothing else.

Ray's own `runtime_env` can do much more than a spec is to decide: start another Python, run a hook
in each worker, install from anywhere, start containers with any options. It is built here from the
few fields that a spec has for it; nothing of it is passed on as it was written.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import SpecError
from orchestrator.redaction.names import FILE
from orchestrator.spec.job import JobSpec
from orchestrator.spec.requirements import is_requirements_file, read_requirements
from orchestrator.spec.variables import open_variables
from orchestrator.submit.secret_file import SECRET_FILE_VARIABLE

if TYPE_CHECKING:
    from pydantic import JsonValue

# What pip is to do besides. Packages that are built run their own code as they are: only wheels.
_PIP_OPTIONS = ("--disable-pip-version-check", "--no-cache-dir", "--only-binary=:all:")


def runtime_environment(
    spec: JobSpec,
    *,
    trust: bool,
    package: Path | None = None,
    secret_file: Path | None = None,
) -> "dict[str, JsonValue]":
    """The `runtime_env` for Ray's job server. No secret stands in it: its callers all can read it.

    Args:
        trust: whether the user has said that the spec may add packages (`--trust`).
        package: the zip file with the job's code.
        secret_file: where the job finds its `secret_variables`, if somebody has put them there.

    Raises:
        SpecError: the spec asks for what needs trust, or for what nobody may ask for.
    """
    environment: dict[str, JsonValue] = {}
    if package is not None:
        environment["working_dir"] = str(package)
    variables = dict(open_variables(spec.runtime.env))
    if secret_file is not None:
        variables[SECRET_FILE_VARIABLE] = str(secret_file)
    if variables:
        environment["env_vars"] = {**variables}
    if spec.runtime.pip:
        environment["pip"] = _pip(spec, trust=trust)
    return environment


def secret_variables(spec: JobSpec) -> dict[str, str]:
    """The variables that a job has to find in its environment, to read the same spec there.

    Files that the spec refers to are not among them: they have to be there.
    """
    return {name: value for name, value in spec.variables.items() if not name.startswith(FILE)}


def secret_paths(spec: JobSpec) -> tuple[str, ...]:
    """The files that have to be there where the job runs, as its spec refers to them."""
    names = sorted(spec.variables)
    return tuple(name.removeprefix(FILE) for name in names if name.startswith(FILE))


def _pip(spec: JobSpec, *, trust: bool) -> "dict[str, JsonValue]":
    if not trust:
        shown = ", ".join(spec.runtime.pip[:3]) + (", ..." if len(spec.runtime.pip) > 3 else "")
        raise SpecError(
            f"runtime.pip: the spec adds packages to the job's environment ({shown}), and whoever "
            "wrote them can run code on the cluster",
            hint="--trust allows it, for a spec that you have read",
        )
    root = Path(spec.runtime.working_dir)
    packages: list[JsonValue] = []
    for entry in spec.runtime.pip:
        if is_requirements_file(entry):
            packages += read_requirements(root / entry)
        else:
            packages.append(entry)
    return {
        "packages": packages,
        "pip_check": False,
        "pip_install_options": list(_PIP_OPTIONS),
    }
