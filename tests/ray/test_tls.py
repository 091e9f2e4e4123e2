"""TLS as the page on security sets it up: Ray works with it, and answers nobody without it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

from tests.support.docs import ROOT, carry_out

# Prints where the GCS is once a task has run, and ends with its standard input.
SCRIPT = """\
import sys
import ray

ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
assert ray.get(ray.remote(lambda: 42).remote()) == 42
print("GCS", ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
ray.shutdown()
"""
TOKEN = "5" * 64


@dataclass(frozen=True)
class Cluster:
    address: str
    folder: Path

    def credentials(self, *, own: bool) -> grpc.ChannelCredentials:
        """Those that know the authority, with or without a certificate of their own."""
        authority = (self.folder / "ca.crt").read_bytes()
        if not own:
            return grpc.ssl_channel_credentials(authority)
        key, certificate = (self.folder / name for name in ("node.key", "node.crt"))
        return grpc.ssl_channel_credentials(authority, key.read_bytes(), certificate.read_bytes())


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("tls")
    assert carry_out(ROOT / "docs" / "security.md", folder, only=["openssl"]) == 3
    environment = {
        **os.environ,
        "RAY_USE_TLS": "1",
        "RAY_TLS_CA_CERT": str(folder / "ca.crt"),
        "RAY_TLS_SERVER_CERT": str(folder / "node.crt"),
        "RAY_TLS_SERVER_KEY": str(folder / "node.key"),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        # All on 127.0.0.1, which the certificate is for.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = (line.split() for line in process.stdout)
        address = next((words[1] for words in lines if words[:1] == ["GCS"]), "")
        assert address, "Ray did not start with TLS"
        try:
            yield Cluster(address=address, folder=folder)
        finally:
            process.communicate(timeout=60)


def asked(channel: grpc.Channel) -> grpc.StatusCode:
    """What the GCS answers to somebody who has the token."""
    stub = gcs_service_pb2_grpc.NodeInfoGcsServiceStub(channel)
    metadata = (("authorization", f"Bearer {TOKEN}"),)
    try:
        stub.GetAllNodeInfo(gcs_service_pb2.GetAllNodeInfoRequest(), metadata=metadata, timeout=10)
    except grpc.RpcError as error:
        return error.code()  # type: ignore[attr-defined,no-any-return]
    return grpc.StatusCode.OK


def test_who_has_a_certificate_and_the_token_is_answered(cluster: Cluster) -> None:
    with grpc.secure_channel(cluster.address, cluster.credentials(own=True)) as channel:
        assert asked(channel) is grpc.StatusCode.OK


def test_who_has_none_is_not_answered_though_he_has_the_token(cluster: Cluster) -> None:
    with grpc.secure_channel(cluster.address, cluster.credentials(own=False)) as channel:
        assert asked(channel) is grpc.StatusCode.UNAVAILABLE
    with grpc.insecure_channel(cluster.address) as channel:
        assert asked(channel) is grpc.StatusCode.UNAVAILABLE
