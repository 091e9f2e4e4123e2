"""`orchestrator cluster`: a development cluster on this machine, and files for other clusters."""

import argparse
import importlib
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from orchestrator.cli.main import Verb

# Action -> module and one line of help. What is slow to import, their functions import.
ACTIONS = {
    "up": ("orchestrator.cli.cluster_up", "start a development cluster on this machine"),
    "status": ("orchestrator.cli.cluster_status", "show its nodes, resources and jobs"),
    "node": ("orchestrator.cli.cluster_node", "add, drain or kill a node of it"),
    "render": ("orchestrator.cli.cluster_render", "write the files of a cluster for a job"),
    "down": ("orchestrator.cli.cluster_down", "end it, with all of its processes"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the actions, and of the chosen one the arguments."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    for name, (module, text) in ACTIONS.items():
        action = actions.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False
        )
        implementation = cast("Verb", importlib.import_module(module))
        implementation.add_arguments(action)
        action.set_defaults(run=implementation.run)


def run(args: argparse.Namespace) -> int:
    """Does what the action says.

    Raises:
        OrchestratorError: why it could not be done.
    """
    return int(args.run(args))
