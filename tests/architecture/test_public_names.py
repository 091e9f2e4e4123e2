"""The names that `import orchestrator` offers are what they say, in any order of imports."""

import subprocess
import sys

import pytest

import orchestrator


@pytest.mark.parametrize("first", ["", "import orchestrator.run.driver, orchestrator.plan.job\n"])
def test_every_public_name_is_what_it_says(first: str) -> None:
    # In a process of its own, as a submodule that was imported before may hide a name.
    names = ", ".join(orchestrator.__all__)
    code = f"{first}from orchestrator import {names}\n" + "".join(
        f"assert callable({name}), {name}\n" for name in orchestrator.__all__
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        orchestrator.nonsense  # noqa: B018
