"""A spec as YAML, every default spelled out, and nothing that was to stay secret."""

import yaml

from orchestrator.redaction.redactor import Redactor
from orchestrator.redaction.uris import redact_uris
from orchestrator.spec.environment import escape
from orchestrator.spec.job import JobSpec
from orchestrator.spec.scalars import resolve_scalar
from orchestrator.spec.secrets import is_free
from orchestrator.spec.tree import PathPart, Plain


class _Dumper(yaml.SafeDumper):
    """Quotes every text that YAML 1.1 or 1.2 would read as something else."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    # The dumper itself quotes the words of YAML 1.1; its plain and single-quoted styles lose line
    # separators such as U+0085.
    style = None if text.isprintable() and _stays_text(text) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _stays_text(text: str) -> bool:
    try:
        return isinstance(resolve_scalar(text), str)
    except ValueError:
        return False


_Dumper.add_representer(str, _represent_text)


def dump_job(spec: JobSpec) -> str:
    """YAML that `load_job` reads back to an equal spec, given the same environment.

    Where a variable stood in a text it stands again. Credentials that were written into a URI are
    left out for good.
    """
    return yaml.dump(
        _dumped(spec.model_dump(mode="json", by_alias=True), (), Redactor(spec.variables)),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=100,
    )


def _dumped(value: Plain, path: tuple[PathPart, ...], redactor: Redactor) -> Plain:
    """The value with `${` escaped in all texts; keys are not looked into for variables."""
    match value:
        case dict():
            return {key: _dumped(item, (*path, key), redactor) for key, item in value.items()}
        case list():
            return [_dumped(item, (*path, at), redactor) for at, item in enumerate(value)]
        case str() if is_free(value, path):
            pieces = redactor.pieces(value)
            return redact_uris("".join(stand_in or escape(text) for text, stand_in in pieces))
        case str():
            return escape(value)
    return value
