"""The nodes of a cluster in the words of AWS, Google Cloud and Azure."""

from orchestrator.labels import HEAD, PREPROCESSING, TRAINING
from orchestrator.provision.launcher import (
    CHANGE,
    DISK_GB,
    Config,
    Machine,
    Machines,
    dumped,
    launcher_config,
)
from orchestrator.spec.job import JobSpec

AWS = Machines(
    head=Machine(name="m6i.xlarge", cpus=4),
    preprocessing=Machine(name="c6i.4xlarge", cpus=16),
    training=Machine(name="g5.xlarge", cpus=4, gpus=1),
)
GCP = Machines(
    head=Machine(name="n2-standard-4", cpus=4),
    preprocessing=Machine(name="n2-highcpu-16", cpus=16),
    training=Machine(name="g2-standard-4", cpus=4, gpus=1),
)
AZURE = Machines(
    head=Machine(name="Standard_D4s_v5", cpus=4),
    preprocessing=Machine(name="Standard_F16s_v2", cpus=16),
    training=Machine(name="Standard_NC4as_T4_v3", cpus=4, gpus=1),
)
MACHINES = {"aws": AWS, "azure": AZURE, "gcp": GCP}
# Deep Learning AMI of us-west-2, as Ray 2.60 names it.
_AMI = "ami-0a2b85e15b7c0ac34"


def render_aws(spec: JobSpec, *, image: str) -> str:
    """A file for `ray up` on AWS."""

    def node(machine: Machine, *, spot: bool = False) -> Config:
        config: Config = {
            "InstanceType": machine.name,
            "ImageId": _AMI,
            # Without one of yours Ray makes a group that opens SSH to everybody.
            "SecurityGroupIds": [f"sg-{CHANGE}"],
            "SubnetIds": [f"subnet-{CHANGE}"],
            "IamInstanceProfile": {"Name": f"{CHANGE}-instance-profile"},
            # Two hops: the container is one.
            "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 2},
            "BlockDeviceMappings": [
                {
                    "DeviceName": "/dev/sda1",
                    "Ebs": {"VolumeSize": DISK_GB, "VolumeType": "gp3", "Encrypted": True},
                }
            ],
        }
        if spot:
            config["InstanceMarketOptions"] = {"MarketType": "spot"}
        return config

    config = launcher_config(
        spec,
        provider={"type": "aws", "region": "us-west-2", "cache_stopped_nodes": False},
        auth={"ssh_user": "ubuntu"},
        machines=AWS,
        node_configs={
            HEAD: node(AWS.head),
            PREPROCESSING: node(AWS.preprocessing, spot=True),
            TRAINING: node(AWS.training),
        },
        image=image,
    )
    return dumped(_HEADER.format(name=spec.name, cloud="AWS"), config)


def render_gcp(spec: JobSpec, *, image: str) -> str:
    """A file for `ray up` on Google Cloud."""

    def node(machine: Machine, *, spot: bool = False) -> Config:
        scheduling: Config = {"automaticRestart": False, "onHostMaintenance": "TERMINATE"}
        if spot:
            scheduling |= {"provisioningModel": "SPOT", "instanceTerminationAction": "DELETE"}
        return {
            "machineType": machine.name,
            "disks": [
                {
                    "boot": True,
                    "autoDelete": True,
                    "type": "PERSISTENT",
                    "initializeParams": {
                        "diskSizeGb": DISK_GB,
                        "sourceImage": "projects/deeplearning-platform-release/global/images/"
                        f"{CHANGE}",
                    },
                }
            ],
            # No address in the world: reached over the VPC, or through IAP.
            "networkInterfaces": [
                {"subnetwork": f"projects/{CHANGE}/regions/us-west1/subnetworks/{CHANGE}"}
            ],
            "scheduling": scheduling,
            "shieldedInstanceConfig": {"enableSecureBoot": True, "enableVtpm": True},
        }

    config = launcher_config(
        spec,
        provider={
            "type": "gcp",
            "region": "us-west1",
            "availability_zone": "us-west1-a",
            "project_id": CHANGE,
            "use_internal_ips": True,
        },
        auth={"ssh_user": "ubuntu"},
        machines=GCP,
        node_configs={
            HEAD: node(GCP.head),
            PREPROCESSING: node(GCP.preprocessing, spot=True),
            TRAINING: node(GCP.training),
        },
        image=image,
    )
    return dumped(_HEADER.format(name=spec.name, cloud="Google Cloud"), config)


def render_azure(spec: JobSpec, *, image: str) -> str:
    """A file for `ray up` on Azure."""

    def node(machine: Machine, *, spot: bool = False) -> Config:
        parameters: Config = {
            "vmSize": machine.name,
            "imagePublisher": "microsoft-dsvm",
            "imageOffer": "ubuntu-2204",
            "imageSku": "2204-gen2",
            "imageVersion": CHANGE,
            "osDiskSizeGb": DISK_GB,
            "provisionPublicIp": False,
        }
        if spot:
            parameters |= {"priority": "Spot", "billingProfile": {"maxPrice": -1}}
        return {"azure_arm_parameters": parameters}

    config = launcher_config(
        spec,
        provider={
            "type": "azure",
            "location": "westus2",
            "resource_group": CHANGE,
            "use_internal_ips": True,
        },
        auth={"ssh_user": "ubuntu"},
        machines=AZURE,
        node_configs={
            HEAD: node(AZURE.head),
            PREPROCESSING: node(AZURE.preprocessing, spot=True),
            TRAINING: node(AZURE.training),
        },
        image=image,
    )
    return dumped(_HEADER.format(name=spec.name, cloud="Azure"), config)


_HEADER = """\
# A cluster for the job "{name}" on {cloud}, for Ray's cluster launcher (ray up, ray down).
# Replace each CHANGE-ME, and make the token: docs/cloud.md goes through it.
"""
