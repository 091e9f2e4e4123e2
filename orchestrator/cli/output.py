"""The only place that prints, besides the console of a run."""

import sys

from orchestrator.redaction.process import redact


def say(text: str) -> None:
    """Prints a line of the answer to standard output."""
    print(redact(text), flush=True)


def complain(text: str) -> None:
    """Prints a line about what went wrong to standard error."""
    print(redact(text), file=sys.stderr, flush=True)
