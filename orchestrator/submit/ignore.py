"""What of a directory does not travel: lists in the manner of .gitignore."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

# The copy of pathspec that Ray packs directories with: the same patterns mean the same.
from ray._private.thirdparty.pathspec.pathspec import PathSpec

from orchestrator.errors import SpecError

IGNORE_FILE = ".orchestratorignore"
# A later one has the last word.
IGNORE_FILES = (".gitignore", ".rayignore", IGNORE_FILE)
ALWAYS_OUT = (
    ".git",
    ".hg",
    ".svn",
    ".venv",
    "venv/",
    ".venv-*/",
    "node_modules/",
    "__pycache__/",
    "*.py[co]",
    "*.egg-info/",
    ".mypy_cache/",
    ".pytest_cache/",
    ".ruff_cache/",
    ".hypothesis/",
    ".ipynb_checkpoints/",
    ".DS_Store",
    ".env",
    "/data/",
    "/runs/",
)
"""Left out unless a list says otherwise, with "!" before the pattern."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """The lists that hold in one folder: those of the folders above it first.

    Attributes:
        lists: each with its folder, relative to the root and "" for the root itself.
        last: patterns from the root that have the last word.
    """

    lists: tuple[tuple[str, PathSpec], ...]
    last: PathSpec

    def leave_out(self, path: str, *, is_folder: bool) -> bool:
        """Whether a path below the folder, relative to the root, stays behind."""
        left_out = False
        for base, patterns in (*self.lists, ("", self.last)):
            below = path.removeprefix(f"{base}/") if base else path
            for pattern in patterns.patterns:
                if pattern.include is not None and _matches(pattern, below, is_folder=is_folder):
                    left_out = bool(pattern.include)
        return left_out

    def within(self, folder: str, path: Path) -> "Rules":
        """The rules of a folder below: its own lists come after."""
        return Rules(lists=(*self.lists, *_lists_of(path, folder)), last=self.last)


def rules_of(root: Path, *, more: Sequence[str] = ()) -> Rules:
    """The rules of a root.

    Args:
        more: patterns that have the last word, of the spec or an option.

    Raises:
        SpecError: a list cannot be read.
    """
    lists = (("", _compiled(ALWAYS_OUT)), *_lists_of(root, ""))
    return Rules(lists=lists, last=_compiled(more))


def _lists_of(path: Path, folder: str) -> Iterator[tuple[str, PathSpec]]:
    for name in IGNORE_FILES:
        file = path / name
        if file.is_file():
            try:
                yield folder, _compiled(file.read_text().splitlines())
            except (OSError, UnicodeError) as error:
                raise SpecError(f"{file} cannot be read: {error}") from error


def _compiled(lines: Iterable[str]) -> PathSpec:
    found: PathSpec = PathSpec.from_lines("gitwildmatch", lines)  # type: ignore[no-untyped-call] # of Ray's
    return found


def _matches(pattern: object, path: str, *, is_folder: bool) -> bool:
    # "name/" is meant for folders alone.
    paths = (path, f"{path}/") if is_folder else (path,)
    return any(True for _ in pattern.match(paths))  # type: ignore[attr-defined] # untyped
