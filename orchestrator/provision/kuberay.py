"""A job on Kubernetes: the manifests that KubeRay makes a cluster, and a run, of."""

import math
import re
import shlex

import yaml

from orchestrator.errors import PlanError
from orchestrator.labels import HEAD, PREPROCESSING, ROLE, TRAINING
from orchestrator.provision.pods import (
    CODE_DIR,
    SPEC_DIR,
    STORAGE_DIR,
    Manifest,
    PodSize,
    network_policy,
    pod_of,
    security_context,
    submitter_pod,
)
from orchestrator.spec.dump import dump_job
from orchestrator.spec.job import JobSpec
from orchestrator.spec.scaling import PoolSpec

RAY_VERSION = "2.60.0"
_HEAD_SIZE = PodSize(cpus=2, memory=8)
# Preprocessing pods are alike; a pool that the spec leaves open may become so many of them.
_PREPROCESSING_SIZE = PodSize(cpus=4, memory=16)
_MOST_OPEN_PODS = 4
_GIB_A_TRAINING_CPU = 4
_IDLE_S = 120
# A driver's death takes the cluster along; the next one goes on at the last checkpoint.
_CLUSTERS_AGAIN = 3
_KEPT_S = 3600
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?")


def render_kuberay(spec: JobSpec, *, image: str) -> str:
    """Manifests for `kubectl apply`: the spec, the network's rules, a cluster for it, and the run.

    Args:
        image: with the package, the job's code in /app, and nothing that runs as root.

    Raises:
        PlanError: the job's name is none for an object of Kubernetes.
    """
    name = _object_name(spec)
    return _dumped(_JOB_HEADER.format(name=name), spec, name, _ray_job(spec, name, image))


def render_raycluster(spec: JobSpec, *, image: str) -> str:
    """Manifests of a cluster that stays, to which jobs are submitted; otherwise as above."""
    name = _object_name(spec)
    cluster: Manifest = {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {"name": name},
        "spec": _cluster(spec, name, image),
    }
    return _dumped(_CLUSTER_HEADER.format(name=name), spec, name, cluster)


def _object_name(spec: JobSpec) -> str:
    name = spec.name.lower().replace("_", "-").replace(".", "-")
    if not _NAME.fullmatch(name):
        raise PlanError(
            f'name: got "{spec.name}", wanted one that Kubernetes takes: at most 42 letters,'
            " digits and hyphens"
        )
    return name


def _dumped(header: str, spec: JobSpec, name: str, last: Manifest) -> str:
    documents = [_spec_map(spec, name), network_policy(name), last]
    return header + "---\n".join(
        yaml.safe_dump(document, sort_keys=False, width=100) for document in documents
    )


def _spec_map(spec: JobSpec, name: str) -> Manifest:
    """The job's spec as the head finds it: its code in the image, its runs on the volume."""
    there = spec.model_copy(
        update={
            "runtime": spec.runtime.model_copy(update={"address": "auto", "working_dir": CODE_DIR}),
            "checkpoint": spec.checkpoint.model_copy(update={"storage": f"{STORAGE_DIR}/runs"}),
        }
    ).with_variables(spec.variables)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{name}-spec"},
        "data": {
            "job.yaml": dump_job(there),
            "groups.yaml": yaml.safe_dump(_node_types(spec), sort_keys=False),
        },
    }


def _node_types(spec: JobSpec) -> Manifest:
    """What may come, as the head reports it: a job is planned while no pod is there yet."""
    training = _training_size(spec)
    return {
        "head_node_type": HEAD,
        "available_node_types": {
            PREPROCESSING: {
                "resources": {"CPU": _PREPROCESSING_SIZE.cpus},
                "max_workers": _preprocessing_pods(spec),
            },
            TRAINING: {
                "resources": {"CPU": training.cpus, "GPU": training.gpus},
                "max_workers": spec.scaling.most_workers,
            },
        },
    }


def _ray_job(spec: JobSpec, name: str, image: str) -> Manifest:
    report = ["python", "-m", "orchestrator.provision.report", f"{SPEC_DIR}/groups.yaml"]
    command = ["python", "-m", "orchestrator", "run", f"{SPEC_DIR}/job.yaml"]
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": name},
        "spec": {
            # Ray's job server gives the address to the job, in a shell.
            "entrypoint": f'{shlex.join(report)} "$RAY_ADDRESS" && {shlex.join(command)}',
            "submissionMode": "K8sJobMode",
            "submitterPodTemplate": submitter_pod(job=name, image=image),
            "backoffLimit": _CLUSTERS_AGAIN,
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": _KEPT_S,
            "rayClusterSpec": _cluster(spec, name, image),
        },
    }


def _cluster(spec: JobSpec, name: str, image: str) -> Manifest:
    groups = [
        _group(PREPROCESSING, _PREPROCESSING_SIZE, _preprocessing_pods(spec), name, image),
        _group(TRAINING, _training_size(spec), spec.scaling.most_workers, name, image),
    ]
    return {
        "rayVersion": RAY_VERSION,
        "authOptions": {"mode": "token"},
        "enableInTreeAutoscaling": True,
        "autoscalerOptions": {
            "version": "v2",
            "idleTimeoutSeconds": _IDLE_S,
            "resources": PodSize(cpus=1, memory=1).resources,
            "securityContext": security_context(),
        },
        "headGroupSpec": {
            "serviceType": "ClusterIP",
            # No work on the head; the dashboard is for the cluster's own network, by token.
            "rayStartParams": {"num-cpus": "0", "dashboard-host": "0.0.0.0"},
            "labels": {ROLE: HEAD},
            "template": pod_of(HEAD, _HEAD_SIZE, job=name, image=image),
        },
        "workerGroupSpecs": groups,
    }


def _group(role: str, size: PodSize, most: int, name: str, image: str) -> Manifest:
    return {
        "groupName": role,
        "replicas": 0,
        "minReplicas": 0,
        "maxReplicas": max(1, most),
        "rayStartParams": {},
        "labels": {ROLE: role},
        "template": pod_of(role, size, job=name, image=image),
    }


def _training_size(spec: JobSpec) -> PodSize:
    """One worker a pod, so that any number of them can be had."""
    cpus = math.ceil(spec.scaling.cpus_per_worker)
    gpus = math.ceil(spec.scaling.gpus_per_worker)
    return PodSize(cpus=cpus, memory=max(8, _GIB_A_TRAINING_CPU * cpus), gpus=gpus)


def _preprocessing_pods(spec: JobSpec) -> int:
    """How many pods hold the pools at their largest, and the tasks beside them."""
    pools: list[PoolSpec] = [spec.scaling.preprocessing]
    if pools[0].workers == "auto":
        return _MOST_OPEN_PODS
    if spec.dataset.validation is not None:
        pools.append(spec.scaling.validation)
    cpus = sum(_most(pool) * (1.0 if pool.cpus == "auto" else pool.cpus) + 1 for pool in pools)
    return math.ceil(cpus / _PREPROCESSING_SIZE.cpus)


def _most(pool: PoolSpec) -> int:
    return 1 if pool.workers == "auto" else pool.workers[1]


_JOB_HEADER = """\
# The job "{name}" on Kubernetes, for the KubeRay operator (1.5.1 or newer). Order:
#   kubectl apply -f THIS_FILE
#   kubectl wait --for=jsonpath='{{.status.jobStatus}}'=SUCCEEDED --timeout=24h rayjob/{name}
# The claim "orchestrator-storage" (ReadWriteMany) has to be there: docs/kubernetes.md.
"""
_CLUSTER_HEADER = """\
# A cluster for jobs like "{name}" on Kubernetes, for the KubeRay operator (1.5.1 or newer). Order:
#   kubectl apply -f THIS_FILE
#   kubectl wait --for=condition=HeadPodReady --timeout=10m raycluster/{name}
# The claim "orchestrator-storage" (ReadWriteMany) has to be there: docs/kubernetes.md.
"""
