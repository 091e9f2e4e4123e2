"""The arguments of the verbs that talk to a cluster's job server."""

import argparse


def add_address(parser: argparse.ArgumentParser) -> None:
    """Adds --address."""
    parser.add_argument(
        "--address",
        metavar="URL",
        help="the cluster's dashboard, such as http://10.0.0.1:8265, or the name of a local "
        "cluster; by default RAY_API_SERVER_ADDRESS or RAY_ADDRESS, or else the local cluster",
    )
