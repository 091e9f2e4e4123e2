"""What of a spec nobody is to read: variables that it passes on, credentials in its URIs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from orchestrator.redaction.names import is_secret_name, reference
from orchestrator.redaction.process import hide
from orchestrator.redaction.uris import credentials_in
from orchestrator.spec.environment import names_in, value_of
from orchestrator.spec.tree import Node, PathPart, Plain, descend
from orchestrator.spec.variables import is_setting, plain_secrets

if TYPE_CHECKING:
    from orchestrator.spec.job import JobSpec

# Below these keys a text may be anything. Elsewhere it is a word of the spec's own language, or the
# name and the place of the run, which its directory shows to everybody.
_FREE = frozenset({"with", "paths", "address", "env"})


def is_free(text: str, path: Sequence[PathPart]) -> bool:
    """Whether a text of a spec may hold a secret."""
    return "://" in text or any(part in _FREE for part in path)


def variables_of(tree: Node, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that a spec passes on, with their values.

    A number, or yes or no, is a setting and no secret, unless the name of its variable says so.
    """
    found = {}
    for node, path in _texts(tree, ()):
        for name in names_in(node.written or ""):
            value = value_of(name, environ)
            passed = is_free(str(node.value), path) and not is_setting(value)
            if (passed or is_secret_name(name)) and value != reference(name):
                found[name] = value
    return found


def written_secrets(tree: Node) -> list[str]:
    """A line for each secret of `runtime.env` that was written into the spec itself."""
    node, complete = descend(tree, ("runtime", "env"))
    items = node.value if complete and isinstance(node.value, dict) else {}
    written = {
        name: item.value
        for name, item in items.items()
        if isinstance(item.value, str) and item.written is None
    }
    return [
        f"{items[name].where}: runtime.env.{name}: its name says that it is a secret, which is not "
        f'to stand in a spec; write "${{env:{name}}}", or "${{file:/PATH}}"'
        for name in plain_secrets(written.items())
    ]


def hide_secrets(spec: Plain, variables: Mapping[str, str]) -> None:
    """Keeps the secrets of a spec out of all that this process writes."""
    hide(variables, {found for text in _plain_texts(spec) for found in credentials_in(text)})


def hide_secrets_of(spec: "JobSpec") -> None:
    """The same for a spec that was read in another process."""
    hide_secrets(spec.model_dump(mode="json", by_alias=True), spec.variables)


def _texts(node: Node, path: tuple[PathPart, ...]) -> Iterator[tuple[Node, tuple[PathPart, ...]]]:
    match node.value:
        case dict() as items:
            for key, item in items.items():
                yield from _texts(item, (*path, key))
        case list() as items:
            for number, item in enumerate(items):
                yield from _texts(item, (*path, number))
        case str() if node.written is not None:
            yield node, path


def _plain_texts(value: Plain) -> Iterator[str]:
    match value:
        case dict():
            for item in value.values():
                yield from _plain_texts(item)
        case list():
            for item in value:
                yield from _plain_texts(item)
        case str():
            yield value
