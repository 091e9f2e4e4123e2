"""The table of faults names tests that exist, and leaves no fault out."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "reliability.md"
FAULTS = 27


def rows() -> dict[int, str]:
    """The rows of the first table by their number."""
    table = PAGE.read_text("utf-8").split("\n## ")[0]
    return {
        int(line.split("|")[1]): line for line in table.splitlines() if re.match(r"\| \d+ \|", line)
    }


def problem_of(name: str) -> str | None:
    """What is wrong with the name of a test, such as `unit/test_x.py::test_y`."""
    file, _, function = name.partition("::")
    path = TESTS / file
    if not path.is_file():
        return f"no file tests/{file}"
    if function and f"\ndef {function}(" not in path.read_text("utf-8"):
        return f"tests/{file} has no {function}"
    return None


def test_each_fault_has_a_row() -> None:
    assert list(rows()) == list(range(1, FAULTS + 1))


def test_each_test_that_is_named_exists_and_its_mark_is_right() -> None:
    for number, row in rows().items():
        for name, slow in re.findall(r"`(\w+/test_\w+\.py(?:::\w+)?)`( \(slow\))?", row):
            assert problem_of(name) is None, f"row {number}: {problem_of(name)}"
            file, _, function = name.partition("::")
            if function:
                before = (TESTS / file).read_text("utf-8").split(f"\ndef {function}(")[0]
                decorators = before.rpartition("\n\n")[2]
                marked = re.search(r"^@pytest\.mark\.slow$", decorators, re.MULTILINE)
                assert bool(slow) == bool(marked), f"row {number}: {name} is slow, or is not"


def test_a_row_without_a_test_is_explained() -> None:
    explained = PAGE.read_text("utf-8").split("\n## ")[1]
    numbers = {
        int(number)
        for line in explained.splitlines()
        if re.match(r"\| \d", line)
        for number in line.split("|")[1].split(",")
    }
    for number, row in rows().items():
        assert re.search(r"`\w+/test_", row) or number in numbers, f"row {number}"
