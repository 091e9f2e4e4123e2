"""The pods of a job's cluster on Kubernetes: restricted, sized, with a token by reference only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.labels import HEAD

Manifest = dict[str, object]

CODE_DIR, STORAGE_DIR, SPEC_DIR = "/app", "/storage", "/job"
CLAIM = "orchestrator-storage"
"""The claim on a volume of many writers, for data and runs."""
# Of the image, which runs as nobody else.
_USER = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class PodSize:
    """What one pod asks for, and gets at most.

    Attributes:
        memory: GiB, a third of which is shared memory for Ray's object store.
    """

    cpus: int
    memory: int
    gpus: int = 0

    @property
    def shared_memory(self) -> int:
        return max(1, self.memory // 3)

    @property
    def resources(self) -> Manifest:
        amounts: Manifest = {"cpu": str(self.cpus), "memory": f"{self.memory}Gi"}
        if self.gpus:
            amounts["nvidia.com/gpu"] = str(self.gpus)
        return {"requests": amounts, "limits": dict(amounts)}


def labels_of_job(name: str) -> Mapping[str, str]:
    """What all pods of a job bear: the network policy knows them by it."""
    return {"app.kubernetes.io/part-of": "training-orchestrator", "orchestrator-job": name}


def security_context() -> Manifest:
    """Of a container, as the restricted Pod Security Standard wants it."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": _USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def pod_of(role: str, size: PodSize, *, job: str, image: str) -> Manifest:
    """The template of a Ray pod.

    Args:
        role: head, preprocessing or training.
        job: the name that the job's objects have.
    """
    container: Manifest = {
        "name": f"ray-{role}",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "resources": size.resources,
        "securityContext": security_context(),
        "volumeMounts": [
            {"name": "shared-memory", "mountPath": "/dev/shm"},
            {"name": "scratch", "mountPath": "/tmp"},
            {"name": "storage", "mountPath": STORAGE_DIR},
            *([{"name": "job", "mountPath": SPEC_DIR, "readOnly": True}] if role == HEAD else []),
        ],
    }
    if role == HEAD:
        container["ports"] = [
            {"name": "gcs", "containerPort": 6379},
            {"name": "dashboard", "containerPort": 8265},
        ]
    spec: Manifest = {
        # The autoscaler, on the head, is the only one that talks to Kubernetes.
        "automountServiceAccountToken": role == HEAD,
        "securityContext": {"fsGroup": _USER, "fsGroupChangePolicy": "OnRootMismatch"},
        "containers": [container],
        "volumes": _volumes(role, size, job),
    }
    if size.gpus:
        spec["tolerations"] = [
            {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
        ]
    return {"metadata": {"labels": dict(labels_of_job(job))}, "spec": spec}


def submitter_pod(*, job: str, image: str) -> Manifest:
    """The template of the pod that hands the job to the cluster and follows it."""
    return {
        "metadata": {"labels": dict(labels_of_job(job))},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "containers": [
                {
                    "name": "submitter",
                    "image": image,
                    "resources": PodSize(cpus=1, memory=1).resources,
                    "securityContext": security_context(),
                }
            ],
        },
    }


def network_policy(job: str) -> Manifest:
    """Only the job's own pods, and the operator at the dashboard, get in; DNS and HTTPS get out."""
    own: Manifest = {"podSelector": {"matchLabels": dict(labels_of_job(job))}}
    operator: Manifest = {
        "namespaceSelector": {},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "kuberay-operator"}},
    }
    ports: Sequence[Manifest] = [{"protocol": kind, "port": 53} for kind in ("UDP", "TCP")]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": job},
        "spec": {
            "podSelector": {"matchLabels": dict(labels_of_job(job))},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"from": [own]},
                {"from": [operator], "ports": [{"protocol": "TCP", "port": 8265}]},
            ],
            "egress": [
                {"to": [own]},
                {"ports": ports},
                # Kubernetes, for the autoscaler, and object storage.
                {"ports": [{"protocol": "TCP", "port": port} for port in (443, 6443)]},
            ],
        },
    }


def _volumes(role: str, size: PodSize, job: str) -> Sequence[Manifest]:
    volumes: list[Manifest] = [
        {
            "name": "shared-memory",
            "emptyDir": {"medium": "Memory", "sizeLimit": f"{size.shared_memory}Gi"},
        },
        # Ray's sockets, logs and what it spills.
        {"name": "scratch", "emptyDir": {"sizeLimit": "50Gi"}},
        {"name": "storage", "persistentVolumeClaim": {"claimName": CLAIM}},
    ]
    if role == HEAD:
        volumes.append({"name": "job", "configMap": {"name": f"{job}-spec"}})
    return volumes
