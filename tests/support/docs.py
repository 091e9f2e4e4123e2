"""Documentation that is carried out: its files are written, its commands run, its output compared.

A fenced block below a paragraph that ends in a path, such as "`my_project/task.py`:", is that file;
where the paragraph begins with "Add", it goes on at the file's end. The lines of a `console` block
that begin with "$ " are commands, and what follows each is what it prints: lines, in any order, in
which "..." stands for anything and a number for any number. A command whose shown output has a line
"error: ..." has to fail, one with a line "^C" is interrupted as soon as it has printed the line
above that, and all others have to succeed.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIMIT_S = 200.0
INTERRUPTED = 130
# What a reader does once and a test must not: it would set up the environment that it runs in.
_NOT_RUN = "make "
_CTRL_C = "^C"

_PYTHON = shlex.quote(sys.executable)
_PROGRAMS = {
    ".venv/bin/orchestrator": f"{_PYTHON} -m orchestrator",
    ".venv/bin/python": _PYTHON,
}
_PROGRAM = re.compile("|".join(map(re.escape, _PROGRAMS)))

_FENCE = re.compile(r"^(?P<fence>`{3,})(?P<language>\w*)$")
_NAMES_FILE = re.compile(r"`(?P<path>[\w./-]+)`:$")
# With the unit that stands right behind it: what takes 2s today takes 900ms tomorrow.
_NUMBER = re.compile(r"\d[\d,.]*(?:e[+-]?\d+)?(?:(?:ms|s|m|h|%|KiB|MiB|GiB|B)\b)?%?")
_ANY_NUMBER = r"\d[\d,.]*(?:e[+-]?\d+)?(?:ms|s|m|h|KiB|MiB|GiB|B)?%?"


@dataclass(frozen=True, kw_only=True, slots=True)
class FileBlock:
    """A file of the page, or what is added to one."""

    line: int
    path: str
    text: str
    added: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """A command of the page and the lines that it is shown to print."""

    line: int
    text: str
    output: tuple[str, ...]

    @property
    def is_run(self) -> bool:
        """Whether a test runs it."""
        return not self.text.startswith(_NOT_RUN)

    @property
    def last_before_interrupt(self) -> str | None:
        """The line after which it is interrupted, None where it is left alone."""
        if _CTRL_C not in self.output:
            return None
        return self.output[self.output.index(_CTRL_C) - 1]

    @property
    def expected(self) -> tuple[str, ...]:
        """The lines to be found in what it prints."""
        return tuple(line for line in self.output if line not in ("", "...", _CTRL_C))

    def accepts(self, code: int) -> bool:
        """Whether the exit code is one that the shown output lets expect."""
        if self.last_before_interrupt is not None:
            return code == INTERRUPTED
        fails = any(line.startswith("error: ") for line in self.output)
        return (code != 0) == fails


def read_page(page: Path) -> Iterator[FileBlock | Command]:
    """The files and commands of a Markdown page, in its order."""
    above = ""
    lines = enumerate(page.read_text(encoding="utf-8").splitlines(), start=1)
    for number, line in lines:
        if (fence := _FENCE.match(line)) is None:
            above = f"{above} {line}".strip() if line else above
            if line.startswith("#"):
                above = ""
            continue
        body = []
        for _, inner in lines:
            if inner == fence["fence"]:
                break
            body.append(inner)
        if fence["language"] == "console":
            yield from _commands(body, first=number + 1)
        elif named := _NAMES_FILE.search(above):
            added = _last_sentence(above).startswith("Add")
            text = "\n".join(body) + "\n"
            yield FileBlock(line=number, path=named["path"], text=text, added=added)
        above = ""


def carry_out(
    page: Path, folder: Path, *, only: Sequence[str] = (), until: str | None = None
) -> int:
    """Follows a page word by word in a folder, and returns how many commands it ran.

    Args:
        only: the verbs of the commands to run; the others are passed over. None are all.
        until: a command before which it ends.
    """
    ran = 0
    for block in read_page(page):
        if isinstance(block, FileBlock):
            _write(block, folder)
        elif until is not None and block.text == until:
            break
        elif block.is_run and (not only or any(word in block.text.split() for word in only)):
            _check(block, page, folder)
            ran += 1
    return ran


def matches(shown: str, printed: str) -> bool:
    """Whether a printed line is what a page shows, numbers and the width of gaps aside."""
    return re.fullmatch(_pattern(shown), printed.strip()) is not None


def _pattern(shown: str) -> str:
    parts = []
    for piece in re.split(r"(\.\.\.|\s+)", shown.strip()):
        if piece == "...":
            parts.append(".*")
        elif piece.isspace():
            parts.append(r"\s+")
        else:
            parts.append(_ANY_NUMBER.join(map(re.escape, _NUMBER.split(piece))))
    return "".join(parts)


def _last_sentence(paragraph: str) -> str:
    return re.split(r"(?<=[.:!?]) ", paragraph)[-1]


def _commands(body: Sequence[str], *, first: int) -> Iterator[Command]:
    starts = [index for index, line in enumerate(body) if line.startswith("$ ")]
    for start, stop in zip(starts, [*starts[1:], len(body)], strict=True):
        yield Command(
            line=first + start,
            text=body[start].removeprefix("$ "),
            output=tuple(line.rstrip() for line in body[start + 1 : stop]),
        )


def _write(block: FileBlock, folder: Path) -> None:
    path = folder / block.path
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a" if block.added else "w", encoding="utf-8") as file:
        file.write(block.text)


def _check(command: Command, page: Path, folder: Path) -> None:
    code, printed = _run(command, folder)
    where = f"{page.name}:{command.line}: $ {command.text}"
    assert command.accepts(code), f"{where}\nexit code {code}\n{printed}"
    lines = [line for line in printed.splitlines() if line.strip()]
    missing = [
        shown for shown in command.expected if not any(matches(shown, line) for line in lines)
    ]
    assert not missing, f"{where}\nshown, but not printed: {missing}\nprinted:\n{printed}"


def _run(command: Command, folder: Path) -> tuple[int, str]:
    """Runs a command as its page says; returns its exit code and all that it printed."""
    text = _PROGRAM.sub(lambda program: _PROGRAMS[program[0]], command.text)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}", "PYTHONUNBUFFERED": "1", "COLUMNS": "100"}
    log = folder / ".printed"
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {text}"],
            cwd=folder,
            env=environment,
            stdout=out,
            stderr=out,
            # Tests in the background of a shell inherit that Ctrl-C is ignored; a reader does not.
            preexec_fn=_heed_interrupts,
        )
    with process:
        try:
            if (last := command.last_before_interrupt) is not None:
                _wait_for_line(last, log, process)
                process.send_signal(signal.SIGINT)
            code = process.wait(timeout=LIMIT_S)
        except BaseException:
            process.kill()
            raise
    return code, log.read_text(encoding="utf-8")


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _wait_for_line(shown: str, log: Path, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + LIMIT_S
    while not any(matches(shown, line) for line in log.read_text(encoding="utf-8").splitlines()):
        assert process.poll() is None, f"ended before {shown!r}:\n{log.read_text(encoding='utf-8')}"
        assert time.monotonic() < deadline, f"no {shown!r} in {LIMIT_S} s"
        time.sleep(0.05)
