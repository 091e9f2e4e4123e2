"""What is written down about a run before it is trained: the job, the plan, the surroundings."""

import json
import platform
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from orchestrator.ledger.description import describe_order, write_description
from orchestrator.plan.job import JobPlan
from orchestrator.plan.render import render_json
from orchestrator.redaction.process import redact_command, redact_json
from orchestrator.run.changes import DATA_FILE, data_record
from orchestrator.run.directory import RunDirectory, replace_file
from orchestrator.spec.load import dump_job
from orchestrator.train.saving import versions


def describe_run(plan: JobPlan, directory: RunDirectory) -> None:
    """Writes down what is about to be trained, and on what, once nothing speaks against it.

    Without secrets, and still readable by its owner alone: who can tell what a spec holds.
    """
    environment = json.dumps(_environment(plan), indent=1, sort_keys=True)
    replace_file(directory.path / "environment.json", environment)
    replace_file(directory.path / DATA_FILE, data_record(plan))
    if plan.spec.checkpoint.ledger and plan.is_counted:
        write_description(directory.path, describe_order(plan))
    write_plan(plan, directory)
    # Last: with it, the directory is that of a run.
    replace_file(directory.job, dump_job(plan.spec))


def write_plan(plan: JobPlan, directory: RunDirectory) -> None:
    """Writes down what a reader of the run needs of its plan."""
    replace_file(directory.plan, json.dumps(redact_json(render_json(plan)), indent=1))


def _environment(plan: JobPlan) -> Mapping[str, object]:
    capacity = plan.resources.capacity
    return {
        "versions": versions(),
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "command": redact_command(sys.argv),
        "git": _git_revision(Path(plan.spec.runtime.working_dir)),
        "cluster": {"cpus": capacity.cpus, "gpus": capacity.gpus, "cores": capacity.cores},
        "order_fingerprint": plan.fingerprint.digest,
    }


def _git_revision(root: Path) -> str | None:
    """The revision of the user's code, marked where it has changes; None outside git."""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
