"""A spec as YAML, every default spelled out."""

import yaml

from orchestrator.spec.environment import escape
from orchestrator.spec.job import JobSpec
from orchestrator.spec.scalars import resolve_scalar


class _Dumper(yaml.SafeDumper):
    """Quotes every text that YAML 1.1 or 1.2 would read as something else."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    # Single words of YAML 1.1 are quoted by the dumper itself.
    style = None if _stays_text(text) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", escape(text), style=style)


def _stays_text(text: str) -> bool:
    try:
        return isinstance(resolve_scalar(text), str)
    except ValueError:
        return False


_Dumper.add_representer(str, _represent_text)


def dump_job(spec: JobSpec) -> str:
    """YAML that `load_job` reads back to an equal spec."""
    return yaml.dump(
        spec.model_dump(mode="json", by_alias=True),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=100,
    )
