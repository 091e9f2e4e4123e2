"""The troubleshooting page names messages that the package can really print."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.docs import ROOT

PAGE = ROOT / "docs" / "troubleshooting.md"
# A message in a heading; "..." stands for what differs, and what lies between is fixed.
HEADING = re.compile(r"^### `(?P<message>.+)`$", re.MULTILINE)
LEAST_HEADINGS = 30


def headings() -> list[str]:
    return HEADING.findall(PAGE.read_text(encoding="utf-8"))


@cache
def messages() -> tuple[str, ...]:
    """Every string of the package's code; what a formatted one fills in is "..." in it."""
    files = sorted((ROOT / "orchestrator").rglob("*.py"))
    return tuple(text for file in files for text in _strings_of(file))


def _strings_of(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "..." for part in node.values
            )


def fixed_pieces(message: str) -> list[str]:
    return [piece for part in message.split("...") if (piece := part.strip())]


def is_printed(message: str) -> bool:
    """Whether one string of the package has all the fixed pieces, in their order."""
    pattern = re.compile(".*".join(map(re.escape, fixed_pieces(message))), re.DOTALL)
    return any(pattern.search(text) for text in messages())


def test_the_page_explains_the_messages_a_user_is_likely_to_meet() -> None:
    assert len(headings()) >= LEAST_HEADINGS


@pytest.mark.parametrize("message", headings())
def test_each_heading_is_a_message_of_the_package(message: str) -> None:
    assert is_printed(message), "no string of the package reads so"


@pytest.mark.parametrize("message", headings())
def test_each_heading_says_something_of_its_own(message: str) -> None:
    assert any(len(piece) >= 4 for piece in fixed_pieces(message))


def test_a_message_that_nothing_prints_is_found_out() -> None:
    assert is_printed("the disk is full")
    assert not is_printed("the disk is full of ...")


def test_no_message_is_explained_twice() -> None:
    assert len(set(headings())) == len(headings())
