"""Where in the user's code an error came from."""

import importlib
import linecache
import traceback
from pathlib import Path

# Frames of the machinery that only calls what the user wrote.
_PACKAGE = str(Path(__file__).parents[1])
_MACHINERY = (_PACKAGE, importlib.__file__, "<frozen")
# An endless recursion has a thousand frames, all alike.
_MOST_FRAMES = 6


def user_trace(error: BaseException, root: Path) -> str:
    """The traceback, shortened to the user's own frames: "\\n  at file:line in name: code" each.

    The outermost comes first; empty where none is the user's. The user's own lines say more than
    those deep inside a library. Code outside of `root` counts where the error never passed through
    `root`.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"\n  at {error.filename}:{error.lineno}"
    frames = [
        (frame.f_code.co_filename, line, frame.f_code.co_name)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if not frame.f_code.co_filename.startswith(_MACHINERY)
    ]
    # Outside of `root`, the first file entered is the user's: a library comes deeper.
    own = [place for place in frames if _is_inside(place[0], root) or place[0] == frames[0][0]]
    return "".join(_line(*place) for place in own[-_MOST_FRAMES:])


def _line(file: str, line: int, name: str) -> str:
    code = linecache.getline(file, line).strip()
    return f"\n  at {file}:{line} in {name}" + (f": {code}" if code else "")


def _is_inside(file: str, root: Path) -> bool:
    path = Path(file)
    return path.is_relative_to(root) and "site-packages" not in path.parts
