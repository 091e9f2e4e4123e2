"""Ray's own node provider and autoscaler for AWS, with a cluster file, against moto's server.

Run as a process of its own by the Python that has moto and boto3, whose python-dateutil is not
Ray's: Ray itself is taken from another environment. Prints one JSON object.
"""

import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
import yaml
from moto.server import ThreadedMotoServer

REGION = "us-west-2"
LIMIT_S = 60.0
Instance = dict[str, Any]


def main(file: str, packages: str) -> None:
    """Starts a head, asks for two CPU nodes and a GPU node, and lets them be idle."""
    # Behind our own packages: only what is missing here comes from there.
    sys.path.append(packages)
    with tempfile.TemporaryDirectory() as home:
        token = Path(home) / ".orchestrator" / "cloud-token"
        token.parent.mkdir()
        token.write_text("0" * 64)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = int(listener.getsockname()[1])
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
        server.start()
        os.environ.update(
            HOME=home,
            AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}",
            AWS_ACCESS_KEY_ID="testing",
            AWS_SECRET_ACCESS_KEY="testing",
            AWS_DEFAULT_REGION=REGION,
            AWS_EC2_METADATA_DISABLED="true",
        )
        try:
            told = try_out(prepared(Path(file).read_text()), Path(home))
        finally:
            server.stop()
    sys.stdout.write(f"{json.dumps(told)}\n")


def prepared(text: str) -> Mapping[str, Any]:
    """The file, with what is the account's own made in the account."""
    ec2, client = boto3.resource("ec2"), boto3.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")
    subnet = vpc.create_subnet(CidrBlock="10.0.1.0/24", AvailabilityZone=f"{REGION}a")
    client.modify_subnet_attribute(SubnetId=subnet.id, MapPublicIpOnLaunch={"Value": True})
    group = vpc.create_security_group(GroupName="orchestrator", Description="of the test")
    boto3.client("iam").create_instance_profile(InstanceProfileName="CHANGE-ME-instance-profile")
    kinds = yaml.safe_load(text)["available_node_types"].values()
    (image,) = {kind["node_config"]["ImageId"] for kind in kinds}
    there = client.describe_images()["Images"][0]["ImageId"]
    text = text.replace("subnet-CHANGE-ME", subnet.id).replace("sg-CHANGE-ME", group.id)
    return dict(yaml.safe_load(text.replace(image, there)))


def try_out(file: Mapping[str, Any], folder: Path) -> Mapping[str, object]:
    """What AWS had after the head, under demand and after idleness."""
    from ray.autoscaler._private.autoscaler import StandardAutoscaler
    from ray.autoscaler._private.aws.config import bootstrap_aws
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
    from ray.autoscaler._private.load_metrics import LoadMetrics
    from ray.autoscaler._private.prom_metrics import AutoscalerPrometheusMetrics
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(file)
    validate_config(config)
    # Nobody answers over SSH there, and no autoscaler has started this head.
    config["provider"] |= {"disable_node_updaters": True, "disable_launch_config_check": True}
    config = bootstrap_aws(config)
    start_head(AWSNodeProvider(config["provider"], config["cluster_name"]), config)
    (head,) = instances()
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    load = LoadMetrics()
    scaler = StandardAutoscaler(
        str(path),
        load,
        gcs_client=None,
        update_interval_s=0,
        prom_metrics=AutoscalerPrometheusMetrics(session_name="test"),
    )
    sizes = {name: kind["resources"] for name, kind in config["available_node_types"].items()}
    demand = [{"CPU": sizes["preprocessing"]["CPU"]}] * 2 + [{"CPU": 1, "GPU": 1}]

    def look(waiting: list[dict[str, float]]) -> None:
        none = {"CPU": 0}
        for number, worker in enumerate(workers()):
            size = dict(sizes[told(worker)["node_type"]])
            idle_s = 0.0 if waiting else 10_000.0
            load.update(worker["PrivateIpAddress"], str(number).encode(), size, size, idle_s)
        # The last word on what waits is the one that counts.
        load.update(head["PrivateIpAddress"], b"head", none, none, 0.0, waiting_bundles=waiting)
        scaler.update()

    until = time.monotonic() + LIMIT_S
    while len(workers()) < len(demand) and time.monotonic() < until:
        look(demand)
        time.sleep(0.2)
    came = workers()
    until = time.monotonic() + LIMIT_S
    while workers() and time.monotonic() < until:
        look([])
        time.sleep(0.2)
    return {
        "group": file["available_node_types"]["head"]["node_config"]["SecurityGroupIds"],
        "head": told(head),
        "demand": [told(each) for each in came],
        "idle": [told(each) for each in workers()],
    }


def start_head(provider: Any, config: Mapping[str, Any]) -> None:
    """Starts the head as `ray up` does, with the tags that Ray gives to it."""
    from ray.autoscaler import tags

    kind = config["head_node_type"]
    provider.create_node(
        config["available_node_types"][kind]["node_config"],
        {
            tags.TAG_RAY_NODE_KIND: tags.NODE_KIND_HEAD,
            tags.TAG_RAY_USER_NODE_TYPE: kind,
            tags.TAG_RAY_NODE_NAME: "head",
            tags.TAG_RAY_NODE_STATUS: tags.STATUS_UP_TO_DATE,
            tags.TAG_RAY_LAUNCH_CONFIG: "of the test",
        },
        1,
    )


def instances() -> list[Instance]:
    """What runs in the account."""
    running = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    found = boto3.client("ec2").describe_instances(Filters=running)["Reservations"]
    return [instance for group in found for instance in group["Instances"]]


def workers() -> list[Instance]:
    """Without the head."""
    return [each for each in instances() if told(each)["kind"] == "worker"]


def told(instance: Instance) -> dict[str, Any]:
    """What AWS was asked for."""
    tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
    return {
        "machine": instance["InstanceType"],
        "node_type": tags["ray-user-node-type"],
        "kind": tags["ray-node-type"],
        "cluster": tags["ray-cluster-name"],
        "groups": [group["GroupId"] for group in instance["SecurityGroups"]],
        "http_tokens": instance["MetadataOptions"]["HttpTokens"],
        "spot": instance.get("InstanceLifecycle") == "spot",
        "profile": instance["IamInstanceProfile"]["Arn"].rpartition("/")[2],
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
