"""Output streams that let no secret through, and log files that none is left in."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from orchestrator.redaction.process import redact


@contextmanager
def redacted_writes(*streams: TextIO) -> Iterator[None]:
    """Redacts all that is written to the streams, also by who got hold of them before."""
    plain = [stream.write for stream in streams]

    def redacting(number: int) -> None:
        def write(text: str) -> int:
            plain[number](redact(text))
            return len(text)

        # On the object, as Ray and `logging` keep the stream itself and not its name.
        streams[number].write = write  # type: ignore[method-assign] # taken back below

    for number in range(len(streams)):
        redacting(number)
    try:
        yield
    finally:
        for stream, write in zip(streams, plain, strict=True):
            stream.write = write  # type: ignore[method-assign] # as it was


def scrub(path: Path) -> None:
    """Redacts a text file that code which knows no stream of ours has written to as well."""
    staged = path.with_name(f".{path.name}.tmp")
    changed = False
    # Byte for byte where nothing is hidden: a log may hold anything.
    with (
        path.open(encoding="utf-8", errors="surrogateescape", newline="") as file,
        staged.open("w", encoding="utf-8", errors="surrogateescape", newline="") as clean,
    ):
        for line in file:
            redacted = redact(line)
            changed = changed or redacted != line
            clean.write(redacted)
    if changed:
        staged.chmod(path.stat().st_mode)
        staged.replace(path)
    else:
        staged.unlink()
