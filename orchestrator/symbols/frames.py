"""Where in the user's code an error came from."""

import importlib
import traceback
from pathlib import Path

# Frames of the machinery that only calls what the user wrote.
_PACKAGE = str(Path(__file__).parents[1])
_MACHINERY = (_PACKAGE, importlib.__file__, "<frozen")


def user_line(error: BaseException, root: Path) -> str:
    """The innermost line of the user's code as " (file:line)"; empty where there is none.

    The user's own line says more than one deep inside a library. Code outside of `root` counts
    where the error never passed through it.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}:{error.lineno})"
    frames = [
        (frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if not frame.f_code.co_filename.startswith(_MACHINERY)
    ]
    # Outside of `root`, the first file entered is the user's: a library comes deeper.
    own = [place for place in frames if _is_inside(place[0], root) or place[0] == frames[0][0]]
    return f" ({own[-1][0]}:{own[-1][1]})" if own else ""


def _is_inside(file: str, root: Path) -> bool:
    path = Path(file)
    return path.is_relative_to(root) and "site-packages" not in path.parts
