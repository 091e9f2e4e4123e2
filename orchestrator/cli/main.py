"""The `orchestrator` command: finds the verb, runs it, turns errors into exit codes."""

import argparse
import difflib
import importlib
import os
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol, cast

from orchestrator import __version__
from orchestrator.cli.output import complain, say
from orchestrator.errors import OrchestratorError
from orchestrator.redaction.process import hide_environment
from orchestrator.submit.secret_file import take_secret_file

# Verb -> module and one line of help. Only the module of the chosen verb is imported: that is
# what keeps `--help` and `validate` free of ray and torch.
VERBS = {
    "run": ("orchestrator.cli.run", "train a job, or resume it"),
    "runs": ("orchestrator.cli.runs", "list runs, and how each stands"),
    "show": ("orchestrator.cli.show", "show one run, also while it is being trained"),
    "submit": ("orchestrator.cli.submit", "train a job on a cluster"),
    "jobs": ("orchestrator.cli.jobs", "list the jobs of a cluster"),
    "status": ("orchestrator.cli.status", "tell how a job of a cluster stands, and its run"),
    "logs": ("orchestrator.cli.logs", "show what a job or a run prints"),
    "stop": ("orchestrator.cli.stop", "end a job or a run, with a last checkpoint"),
    "audit": ("orchestrator.cli.audit", "prove that each epoch of a run has each row once"),
    "ledger": ("orchestrator.cli.ledger", "show or export which rows made which step"),
    "export": ("orchestrator.cli.export", "write the weights of a run for use without Ray"),
    "diff": ("orchestrator.cli.diff", "name the first step at which two runs saw other rows"),
    "cluster": ("orchestrator.cli.cluster", "run a development cluster on this machine"),
    "plan": ("orchestrator.cli.plan", "show what a job would do, without starting anything"),
    "validate": ("orchestrator.cli.validate", "check a job spec and the code it names"),
    "bench": ("orchestrator.cli.bench", "measure the stream beside limits and other loaders"),
    "schema": ("orchestrator.cli.schema", "print the JSON Schema of job specs"),
}
INTERRUPTED = 130
_APART = "orchestrator.run.apart"
USAGE = 2


class Verb(Protocol):
    """A module with a verb; `main` calls both functions, once, in this order."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, args: argparse.Namespace) -> int: ...


def command() -> None:
    """The process of a shell's command: `main`, and an end with its exit code."""
    code = main()
    # Only a verb that has started Ray has more than one, and may leave one in its hands.
    if threading.active_count() > 1 and importlib.import_module(_APART).left_at_work():
        for stream in (sys.stdout, sys.stderr):
            with suppress(BrokenPipeError):  # a reader that is gone is no news at the end
                stream.flush()
        os._exit(code)
    sys.exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    hide_environment(os.environ)
    try:
        if arguments[:1] == ["run"]:
            take_secret_file(os.environ)
        return _run(arguments)
    except OrchestratorError as error:
        complain(f"{'interrupted' if error.exit_code == INTERRUPTED else 'error'}: {error}")
        if error.hint:
            complain(f"hint: {error.hint}")
        return error.exit_code
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader, such as `head`, has had enough; a closing flush must not complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(arguments: list[str]) -> int:
    match arguments:
        case [] | ["-h" | "--help" | "help", *_]:
            say(_overview())
            return 0 if arguments else USAGE
        case ["--version", *_]:
            say(f"orchestrator {__version__}")
            return 0
        case [verb, *rest] if verb in VERBS:
            return _run_verb(verb, rest)
        case [verb, *_]:
            close = difflib.get_close_matches(verb, VERBS, n=1)
            question = f'; did you mean "{close[0]}"?' if close else ""
            complain(f'error: no verb "{verb}"{question} (verbs: {", ".join(VERBS)})')
    return USAGE


def _run_verb(verb: str, arguments: list[str]) -> int:
    module, text = VERBS[verb]
    implementation = cast("Verb", importlib.import_module(module))
    parser = argparse.ArgumentParser(
        prog=f"orchestrator {verb}", description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False
    )
    implementation.add_arguments(parser)
    try:
        args = parser.parse_args(arguments)
    except SystemExit as stop:
        # argparse has printed its help (0) or a usage error (2).
        return stop.code if isinstance(stop.code, int) else USAGE
    return implementation.run(args)


def _overview() -> str:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb:<{width}}  {text}" for verb, (_, text) in VERBS.items())
    return (
        "usage: orchestrator VERB ...\n\n"
        "Trains a model from one job spec: Ray Data feeds Ray Train.\n\n"
        f"verbs:\n{verbs}\n\n"
        "options:\n  -h, --help  this text; after a verb, the options of the verb\n"
        "  --version   the version\n\n"
        "exit codes: 0 done, 1 the job failed, or audit or diff found something, 2 the spec or\n"
        "            the plan is wrong, 3 cluster, 4 checkpoint, 5 data, 130 interrupted"
    )
