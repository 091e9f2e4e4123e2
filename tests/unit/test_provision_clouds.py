"""Files for Ray's cluster launcher: valid by Ray's own check, closed to the world, in step."""

import copy
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from orchestrator.provision.clouds import render_aws, render_azure, render_gcp
from orchestrator.spec.load import load_job
from tests.support.plans import make_spec
from tests.support.runs import ROOT

IMAGE = "registry.example/training-orchestrator:0.1.0"
CLOUDS = {"aws": render_aws, "gcp": render_gcp, "azure": render_azure}


def rendered(cloud: str, **scaling: Any) -> dict[str, Any]:
    content = yaml.safe_load(CLOUDS[cloud](make_spec(scaling=scaling), image=IMAGE))
    assert isinstance(content, dict)
    return content


@pytest.mark.parametrize("cloud", CLOUDS)
def test_ray_itself_takes_it(cloud: str) -> None:
    config = rendered(cloud)
    # As `ray up` does: defaults are filled in, and then the whole is checked.
    filled = prepare_config(copy.deepcopy(config))
    validate_config(filled)
    types = filled["available_node_types"]
    assert {name: types[name]["node_config"] for name in config["available_node_types"]} == {
        name: kind["node_config"] for name, kind in config["available_node_types"].items()
    }


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_field_that_ray_does_not_know_is_refused(cloud: str) -> None:
    filled = prepare_config(rendered(cloud))
    filled["available_node_types"]["training"]["max_worker"] = 3
    with pytest.raises(jsonschema.ValidationError, match="max_worker"):
        validate_config(filled)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_head_has_no_work_and_the_others_their_roles_and_limits(cloud: str) -> None:
    config = rendered(
        cloud, workers={"min": 1, "max": 8}, gpus_per_worker=1, preprocessing={"workers": 40}
    )
    types = config["available_node_types"]
    assert types["head"]["resources"] == {"CPU": 0}
    assert {name: kind["labels"] for name, kind in types.items()} == {
        name: {"role": name} for name in ("head", "preprocessing", "training")
    }
    assert (types["training"]["min_workers"], types["training"]["max_workers"]) == (0, 8)
    assert types["training"]["resources"]["GPU"] == 1
    assert types["preprocessing"]["max_workers"] == 3
    assert config["max_workers"] == 11
    assert config["idle_timeout_minutes"] > 0


@pytest.mark.parametrize("cloud", CLOUDS)
def test_every_ray_wants_the_token_and_the_dashboard_is_for_the_head_alone(cloud: str) -> None:
    config = rendered(cloud)
    (token,) = config["file_mounts"]
    assert token == "~/.ray/auth_token"
    assert f"chmod 600 {token}" in config["setup_commands"]
    starts = [*config["head_start_ray_commands"], *config["worker_start_ray_commands"]]
    started = [command for command in starts if "ray start" in command]
    assert len(started) == 2
    assert all(command.startswith("RAY_AUTH_MODE=token ") for command in started)
    assert "--dashboard-host=127.0.0.1" in started[0]
    assert "--num-cpus=0" in started[0]
    assert "0.0.0.0" not in yaml.safe_dump(config)


def test_on_aws_ssh_is_not_opened_and_metadata_want_a_session() -> None:
    config = rendered("aws")
    # With a group in the provider's section Ray would add rules, and open port 22 all the same.
    assert "security_group" not in config["provider"]
    for kind in config["available_node_types"].values():
        node = kind["node_config"]
        assert len(node["SecurityGroupIds"]) == 1
        assert node["MetadataOptions"]["HttpTokens"] == "required"
        assert node["ImageId"].startswith("ami-")
        assert node["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True
        assert node["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] >= 100


@pytest.mark.parametrize("cloud", ["gcp", "azure"])
def test_elsewhere_no_node_has_an_address_in_the_world(cloud: str) -> None:
    config = rendered(cloud)
    assert config["provider"]["use_internal_ips"] is True
    for kind in config["available_node_types"].values():
        node = kind["node_config"]
        if cloud == "gcp":
            assert all("accessConfigs" not in each for each in node["networkInterfaces"])
        else:
            assert node["azure_arm_parameters"]["provisionPublicIp"] is False


@pytest.mark.parametrize("cloud", CLOUDS)
def test_only_preprocessing_is_on_machines_that_may_be_taken_away(cloud: str) -> None:
    types = rendered(cloud)["available_node_types"]
    spot = {name for name, kind in types.items() if "spot" in yaml.safe_dump(kind).lower()}
    assert spot == {"preprocessing"}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_files_to_copy_are_what_is_rendered(cloud: str) -> None:
    text = CLOUDS[cloud](load_job(ROOT / "jobs" / "flights.yaml"), image=IMAGE)
    assert (ROOT / "cluster" / f"{cloud}.yaml").read_text() == text
