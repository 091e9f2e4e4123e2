"""The plan of the spec that the arguments name; a refusal says where in the file it comes from."""

import argparse
import re

from orchestrator.cli.spec_arguments import load_located
from orchestrator.errors import OrchestratorError
from orchestrator.plan.job import JobPlan
from orchestrator.run.planning import plan_job
from orchestrator.spec.job import JobSpec
from orchestrator.spec.load import LoadedJob

# A line that begins with the path of a setting: "dataset.train: ..." or "scaling.workers is ...".
_SETTING = re.compile(
    rf"^( *)((?:{'|'.join(JobSpec.model_fields)})(?:\.\w+)*)(?=: | is )", re.MULTILINE
)


def plan_from(args: argparse.Namespace) -> JobPlan:
    """Loads and plans the job.

    Raises:
        OrchestratorError: why it cannot be run, with the place in the file.
    """
    job = load_located(args)
    try:
        return plan_job(job.spec)
    except OrchestratorError as error:
        raise type(error)(with_places(str(error), job), hint=error.hint) from error


def with_places(message: str, job: LoadedJob) -> str:
    """The message, with the place in the file before each line that begins with a setting."""

    def placed(match: re.Match[str]) -> str:
        path = [int(part) if part.isdecimal() else part for part in match[2].split(".")]
        return f"{match[1]}{job.where(path)}: {match[2]}"

    return _SETTING.sub(placed, message)
