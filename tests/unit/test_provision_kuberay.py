"""Manifests for KubeRay: valid by its own schemas, restricted, and in step with the files."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from orchestrator.errors import PlanError
from orchestrator.provision.kuberay import render_kuberay, render_raycluster
from orchestrator.spec.load import load_job
from tests.support.plans import make_spec
from tests.support.runs import ROOT

IMAGE = "registry.example/training-orchestrator:0.1.0"
SCHEMAS = ROOT.parent / "shared" / "kuberay"
FILES = {
    "rayjob.yaml": (render_kuberay, "RayJob", "ray.io_rayjobs.yaml"),
    "raycluster.yaml": (render_raycluster, "RayCluster", "ray.io_rayclusters.yaml"),
}


def documents(text: str) -> dict[str, dict[str, Any]]:
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


def closed(schema: Any) -> Any:
    """The schema with every object closed whose properties it lists: a typing error must fail."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: closed(each) for key, each in schema.items()}
    properties = isinstance(result.get("properties"), dict) and result.get("type") == "object"
    if properties and not result.get("x-kubernetes-preserve-unknown-fields"):
        result.setdefault("additionalProperties", False)
    if result.get("x-kubernetes-int-or-string"):
        result.pop("type", None)
    return result


@cache
def validator(file: str) -> jsonschema.Draft202012Validator:
    path = SCHEMAS / file
    if not path.exists():
        pytest.skip("no schemas of KubeRay beside us")
    versions = yaml.load(path.read_text(), yaml.CSafeLoader)["spec"]["versions"]
    (schema,) = [v["schema"]["openAPIV3Schema"] for v in versions if v["name"] == "v1"]
    schema = closed(schema)
    # Kubernetes itself checks these.
    schema["properties"]["metadata"] = {"type": "object"}
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("job", ["digits", "flights"])
@pytest.mark.parametrize("file", FILES)
def test_manifests_are_valid_by_the_operators_own_schema(file: str, job: str) -> None:
    render, kind, schema = FILES[file]
    found = documents(render(load_job(ROOT / "jobs" / f"{job}.yaml"), image=IMAGE))
    assert set(found) == {"ConfigMap", "NetworkPolicy", kind}
    validator(schema).validate(found[kind])


@pytest.mark.parametrize(
    "path", [("spec",), ("spec", "rayClusterSpec"), ("spec", "rayClusterSpec", "headGroupSpec")]
)
def test_a_field_that_the_operator_does_not_know_fails(path: tuple[str, ...]) -> None:
    job = documents(render_kuberay(make_spec(), image=IMAGE))["RayJob"]
    place = job
    for part in path:
        place = place[part]
    place["backofLimit"] = 3
    with pytest.raises(jsonschema.ValidationError, match="backofLimit"):
        validator("ray.io_rayjobs.yaml").validate(job)


def pods(cluster: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "head", cluster["headGroupSpec"]["template"]
    for group in cluster["workerGroupSpecs"]:
        yield group["groupName"], group["template"]


@pytest.mark.parametrize("gpus", [0, 2])
def test_every_pod_is_restricted_sized_and_has_shared_memory(gpus: int) -> None:
    spec = make_spec(scaling={"workers": 3, "gpus_per_worker": gpus})
    job = documents(render_kuberay(spec, image=IMAGE))["RayJob"]
    cluster = job["spec"]["rayClusterSpec"]
    found = dict(pods(cluster))
    assert set(found) == {"head", "preprocessing", "training"}
    for role, template in [*found.items(), ("submitter", job["spec"]["submitterPodTemplate"])]:
        pod = template["spec"]
        assert pod["automountServiceAccountToken"] is (role == "head")
        assert template["metadata"]["labels"]["orchestrator-job"] == "job"
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["runAsNonRoot"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context["seccompProfile"] == {"type": "RuntimeDefault"}
            resources = container["resources"]
            assert resources["requests"]["memory"] == resources["limits"]["memory"]
            assert container["image"] == IMAGE
    for template in found.values():
        volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
        assert volumes["shared-memory"]["emptyDir"]["medium"] == "Memory"
    training = found["training"]["spec"]
    assert ("tolerations" in training) is bool(gpus)
    assert training["containers"][0]["resources"]["limits"].get("nvidia.com/gpu") == (
        str(gpus) if gpus else None
    )
    groups = {group["groupName"]: group for group in cluster["workerGroupSpecs"]}
    assert groups["training"]["maxReplicas"] == 3
    assert groups["training"]["labels"] == {"role": "training"}
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_a_cluster_wants_a_token_and_a_lost_driver_gets_another_cluster() -> None:
    job = documents(render_kuberay(make_spec(), image=IMAGE))["RayJob"]["spec"]
    assert job["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    assert job["rayClusterSpec"]["autoscalerOptions"]["version"] == "v2"
    assert job["backoffLimit"] > 0
    assert job["shutdownAfterJobFinishes"] is True
    assert job["ttlSecondsAfterFinished"] > 0


def test_nobody_else_gets_in() -> None:
    policy = documents(render_kuberay(make_spec(), image=IMAGE))["NetworkPolicy"]["spec"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert all(rule["from"] for rule in policy["ingress"])
    assert {"protocol": "UDP", "port": 53} in policy["egress"][1]["ports"]


def test_the_head_reports_what_may_come() -> None:
    spec = make_spec(scaling={"workers": 3, "gpus_per_worker": 1})
    found = documents(render_kuberay(spec, image=IMAGE))
    groups = yaml.safe_load(found["ConfigMap"]["data"]["groups.yaml"])
    assert groups["available_node_types"]["training"] == {
        "resources": {"CPU": 1, "GPU": 1},
        "max_workers": 3,
    }
    assert "orchestrator.provision.report /job/groups.yaml" in found["RayJob"]["spec"]["entrypoint"]


def test_the_spec_on_the_cluster_is_a_spec(tmp_path: Path) -> None:
    found = documents(render_kuberay(load_job(ROOT / "jobs" / "flights.yaml"), image=IMAGE))
    file = tmp_path / "job.yaml"
    file.write_text(found["ConfigMap"]["data"]["job.yaml"])
    there = load_job(file)
    assert there.runtime.address == "auto"
    assert there.checkpoint.storage == "/storage/runs"
    assert there.name == "flights"


def test_a_name_that_kubernetes_does_not_take_is_told() -> None:
    with pytest.raises(PlanError, match="wanted one that Kubernetes takes"):
        render_kuberay(make_spec(name="x" * 60), image=IMAGE)


@pytest.mark.parametrize("file", FILES)
def test_the_files_to_copy_are_what_is_rendered(file: str) -> None:
    render = FILES[file][0]
    text = render(load_job(ROOT / "jobs" / "flights.yaml"), image=IMAGE)
    assert (ROOT / "cluster" / "kuberay" / file).read_text() == text
