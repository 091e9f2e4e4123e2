"""Reading a job spec: files, what they extend, the command line, the environment."""

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from orchestrator.spec.dump import dump_job
from orchestrator.spec.environment import interpolate
from orchestrator.spec.explain import explain, place
from orchestrator.spec.job import JobSpec
from orchestrator.spec.overrides import Override, apply_override, parse_override
from orchestrator.spec.schema import json_schema
from orchestrator.spec.secrets import hide_secrets, variables_of, written_secrets
from orchestrator.spec.tree import Node, PathPart, Where, descend, failure, merge, plain
from orchestrator.spec.yaml_reader import read_yaml_file

__all__ = ["LoadedJob", "dump_job", "load_job", "read_job"]

MAX_EXTENDS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedJob:
    """A job spec, and the places where its values were written."""

    spec: JobSpec
    tree: Node

    def where(self, path: Sequence[PathPart]) -> Where:
        """Where a value of the spec was written, or the section that it would stand in."""
        return place(self.tree, path)


def load_job(
    path: Path | str,
    *,
    overrides: Sequence[str | Override] = (),
    environ: Mapping[str, str] | None = None,
) -> JobSpec:
    """Reads a job spec; `runtime.working_dir` comes back absolute.

    Args:
        overrides: changes such as "training.epochs=3", as `--set` takes them.
        environ: what `${env:NAME}` stands for; by default the environment of this process.

    Raises:
        SpecError: Something in it is wrong; `problems` has a line for each mistake.
    """
    environ = os.environ if environ is None else environ
    return read_job(Path(path), overrides=overrides, environ=environ).spec


def read_job(
    path: Path, *, overrides: Sequence[str | Override] = (), environ: Mapping[str, str]
) -> LoadedJob:
    """Reads a job spec and keeps the places of its values.

    Raises:
        SpecError: Something in it is wrong; `problems` has a line for each mistake.
    """
    tree = _read(path, environ, ())
    for item in overrides:
        override = parse_override(item) if isinstance(item, str) else item
        value, problems = interpolate(override.value, environ)
        if problems:
            raise failure(problems)
        tree = apply_override(tree, replace(override, value=value))
    if not isinstance(tree.value, dict):
        raise failure([f"{tree.where}: wanted a mapping such as a job spec starts with"])
    variables = variables_of(tree, environ)
    # Before anything can fail, and quote what it got.
    hide_secrets(plain(tree), variables)
    try:
        spec = JobSpec.model_validate(plain(tree), by_alias=True, by_name=False)
    except ValidationError as error:
        raise failure(explain(error, tree, json_schema())) from None
    if secrets := written_secrets(tree):
        raise failure(secrets)
    spec = _with_absolute_working_dir(spec, tree, path).with_variables(variables)
    return LoadedJob(spec=spec, tree=tree)


def _read(path: Path, environ: Mapping[str, str], chain: tuple[Path, ...]) -> Node:
    """One file over all that it extends."""
    if not chain and not path.exists():
        raise failure([f"{path}: no such file{_nearest_file(path)}"])
    tree, problems = interpolate(read_yaml_file(path), environ)
    if problems:
        raise failure(problems)
    if not isinstance(tree.value, dict) or "extends" not in tree.value:
        return tree
    base = tree.value["extends"]
    own = replace(tree, value={key: item for key, item in tree.value.items() if key != "extends"})
    return merge(_read_base(base, path, environ, (*chain, _real(path))), own)


def _read_base(base: Node, path: Path, environ: Mapping[str, str], chain: tuple[Path, ...]) -> Node:
    if not isinstance(base.value, str) or not base.value or "\0" in base.value:
        raise failure([f"{base.where}: extends: wanted the path of a file"])
    target = Path(os.path.normpath(path.parent / base.value))
    if _real(target) in chain:
        raise failure([f"{base.where}: extends: {target} extends itself, by way of this file"])
    if len(chain) > MAX_EXTENDS:
        raise failure([f"{base.where}: extends: more than {MAX_EXTENDS} files extend each other"])
    if not target.exists():
        raise failure([f"{base.where}: extends: no such file: {target}{_nearest_file(target)}"])
    tree = _read(target, environ, chain)
    if not isinstance(tree.value, dict):
        raise failure([f"{tree.where}: wanted a mapping, since {path} extends this file"])
    return tree


def _with_absolute_working_dir(spec: JobSpec, tree: Node, path: Path) -> JobSpec:
    node, complete = descend(tree, ("runtime", "working_dir"))
    # A value from an extended file means what it means there; options have no folder.
    origin = Path(node.where.source) if complete and node.where.line else path
    folder = Path(os.path.normpath(Path.cwd() / origin.parent / spec.runtime.working_dir))
    runtime = spec.runtime.model_copy(update={"working_dir": str(folder)})
    return spec.model_copy(update={"runtime": runtime})


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _nearest_file(path: Path) -> str:
    folder = path.parent
    try:
        names = [item.name for item in folder.iterdir()]
    except OSError:
        return ""
    close = difflib.get_close_matches(path.name, names, n=1)
    return f'; did you mean "{folder / close[0]}"?' if close else ""
