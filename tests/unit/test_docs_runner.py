"""The runner of pages itself: what it writes, what it runs, and what it does not let pass."""

from pathlib import Path

import pytest

from tests.support.docs import Command, FileBlock, carry_out, matches, read_page

PAGE = """\
# Title

`code/say.py`:

```python
print("loss 0.5 in 20ms")
```

More. Add to `code/say.py`:

```python
print("done")
```

```console
$ make setup
$ .venv/bin/python code/say.py
loss 0.7 in 3ms
...
done
```
"""


def write(folder: Path, text: str) -> Path:
    page = folder / "page.md"
    page.write_text(text, encoding="utf-8")
    return page


def test_a_page_is_files_and_commands_in_its_order(tmp_path: Path) -> None:
    first, second, setup, say = read_page(write(tmp_path, PAGE))
    assert isinstance(first, FileBlock)
    assert not first.added
    assert isinstance(second, FileBlock)
    assert second.added
    assert isinstance(setup, Command)
    assert not setup.is_run
    assert isinstance(say, Command)
    assert say.expected == ("loss 0.7 in 3ms", "done")


def test_a_page_that_shows_the_truth_passes(tmp_path: Path) -> None:
    assert carry_out(write(tmp_path, PAGE), tmp_path) == 1
    assert (tmp_path / "code" / "say.py").read_text(encoding="utf-8").count("print") == 2


def test_a_line_that_is_not_printed_fails_the_page(tmp_path: Path) -> None:
    page = write(tmp_path, PAGE.replace("\ndone\n", "\nfinished\n"))
    with pytest.raises(AssertionError, match=r"shown, but not printed: \['finished'\]"):
        carry_out(page, tmp_path)


def test_a_command_that_fails_unexpectedly_fails_the_page(tmp_path: Path) -> None:
    page = write(tmp_path, "```console\n$ .venv/bin/python missing.py\n...\n```\n")
    with pytest.raises(AssertionError, match="exit code 2"):
        carry_out(page, tmp_path)


def test_an_error_that_is_shown_has_to_happen(tmp_path: Path) -> None:
    page = write(tmp_path, "```console\n$ .venv/bin/python -c pass\nerror: no\n```\n")
    with pytest.raises(AssertionError, match="exit code 0"):
        carry_out(page, tmp_path)


def test_a_shown_ctrl_c_interrupts_after_the_line_above_it(tmp_path: Path) -> None:
    code = (
        "import sys, time\\nprint(1)\\n"
        "try: time.sleep(100)\\nexcept KeyboardInterrupt: print(2); sys.exit(130)"
    )
    command = f"""$ .venv/bin/python -c "exec('{code}')"\n"""
    page = write(tmp_path, f"```console\n{command}1\n^C\n2\n```\n")
    assert carry_out(page, tmp_path) == 1


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("loss 0.3487  in 5ms", "loss 0.2  in 1.5s", True),
        ("step  10/600  epoch 1/40", "step   5/600  epoch 1/40", True),
        ("run   .../runs/a  (48KiB)", "run  /tmp/x/runs/a  (1.2MiB)", True),
        ("step 600  finished", "step 600  failed", False),
        ("valid", "not valid", False),
        ("from step-000000450-001", "from step-000000600-002", True),
        ("loss 1.1e-05", "loss 0.02", True),
        ("loss 0.1", "loss nan", False),
    ],
)
def test_numbers_and_gaps_may_differ_but_not_words(shown: str, printed: str, same: bool) -> None:
    assert matches(shown, printed) is same
