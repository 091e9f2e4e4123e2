"""`orchestrator cluster render`: writes the files of a cluster for a job, to read and to apply."""

import argparse
from pathlib import Path

from orchestrator import __version__
from orchestrator.checkpoint.files import storage_errors
from orchestrator.cli.output import say
from orchestrator.cli.spec_arguments import add_spec_arguments, load_spec
from orchestrator.provision.clouds import render_aws, render_azure, render_gcp
from orchestrator.provision.kuberay import render_kuberay, render_raycluster

PROVIDERS = {
    "aws": render_aws,
    "azure": render_azure,
    "gcp": render_gcp,
    "kuberay": render_kuberay,
    "kuberay-cluster": render_raycluster,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the action."""
    add_spec_arguments(parser)
    parser.add_argument(
        "--provider",
        required=True,
        choices=sorted(PROVIDERS),
        help="a cloud, for `ray up`; kuberay: a run as a RayJob; kuberay-cluster: a RayCluster",
    )
    parser.add_argument(
        "--image",
        default=f"registry.example/training-orchestrator:{__version__}",
        help="container image with the package and the job's code",
    )
    parser.add_argument("--out", metavar="FILE", type=Path, help="write there instead of printing")


def run(args: argparse.Namespace) -> int:
    """Renders them.

    Raises:
        SpecError: the spec is wrong.
        PlanError: the job cannot be had from this provider.
        CheckpointError: the file cannot be written.
    """
    text = PROVIDERS[args.provider](load_spec(args), image=args.image)
    if args.out is None:
        say(text.rstrip())
        return 0
    with storage_errors("write", args.out):
        args.out.write_text(text)
    say(f"wrote {args.out}")
    return 0
