"""Labels of nodes, and what a selector asks of them: in Ray's words, and with Ray's answers."""

import re
from collections.abc import Mapping

Labels = tuple[tuple[str, str], ...]
"""Pairs of key and value, by key: what a node has, or a selector asks for."""

ROLE = "role"
"""The label that clusters of ours give to each of their nodes; its values follow."""
HEAD, PREPROCESSING, TRAINING = "head", "preprocessing", "training"

_PART = r"[a-zA-Z0-9](?:[a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?"
_KEY = re.compile(rf"(?:(?:{_PART})(?:\.{_PART})*/)?{_PART}")
_CONDITION = re.compile(
    rf"(?P<no>!)?(?:in\((?P<several>{_PART}(?:, ?{_PART})*)\)|(?P<one>{_PART}))"
)


def labels_of(pairs: Mapping[str, str]) -> Labels:
    """The pairs in their order."""
    return tuple(sorted(pairs.items()))


def check_selector(selector: Mapping[str, str]) -> dict[str, str]:
    """Returns a selector unchanged.

    Raises:
        ValueError: a key or a condition is none.
    """
    for key, condition in selector.items():
        if not _KEY.fullmatch(key):
            raise ValueError(f'got the label "{key}", wanted a name such as "role"')
        if not _CONDITION.fullmatch(condition):
            raise ValueError(
                f'got "{condition}" for the label "{key}", wanted "value", "!value",'
                ' "in(one, other)" or "!in(one, other)"'
            )
    return dict(selector)


def selects(selector: Labels, labels: Labels) -> bool:
    """Whether a node with these labels is one that a selector asks for."""
    there = dict(labels)
    return all(_holds(condition, there.get(key)) for key, condition in selector)


def shown(selector: Labels) -> str:
    """A selector as a message has it."""
    return ", ".join(f"{key}: {condition}" for key, condition in selector)


def _holds(condition: str, value: str | None) -> bool:
    found = _CONDITION.fullmatch(condition)
    if found is None:
        return False
    values = re.split(r", ?", found["several"]) if found["several"] else [found["one"]]
    # A node without the label has none of the values that a selector excludes.
    return (value in values) != bool(found["no"])
