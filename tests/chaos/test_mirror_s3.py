"""A mirror on a real S3 server, with throttling and dropped connections before it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.checkpoint.mirror import Mirror
from orchestrator.checkpoint.remote import RemoteFiles, Retries
from orchestrator.errors import CheckpointError
from orchestrator.jsonl import read_json_lines
from tests.support.mirrors import keep, names, open_mirror, run_in, save, told, wait_for
from tests.support.object_store import Trouble, needs_moto, s3_server, s3_uri, troubled

pytestmark = needs_moto
FEW = Retries(count=2, first_s=0.01)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with s3_server(tmp_path_factory.mktemp("moto") / "log.txt") as port:
        yield port


@pytest.fixture
def proxy(server: int) -> Iterator[Trouble]:
    with troubled(server) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "topsecret")


def test_checkpoints_are_copied_pruned_and_fetched(tmp_path: Path, proxy: Trouble) -> None:
    directory, mirror = run_in(tmp_path), open_mirror(s3_uri(proxy.port, "plain"))
    with keep(mirror, directory):
        for step in (1, 2, 3):
            save(directory.checkpoints, step)
            wait_for(lambda step=step: told(directory).count("mirrored") == step)
    assert names(mirror) == ["step-000000003-001", "step-000000002-001"]
    mirror.fetch(mirror.listing().good[0], tmp_path / "back")
    mirror.fetch_records(tmp_path / "records")
    assert (tmp_path / "back/rank/0.bin").read_bytes() == b"random state3"
    assert (tmp_path / "records/attempts/1.json").exists()


@pytest.mark.parametrize("trouble", ["slow down", "drop"])
def test_throttling_and_dropped_connections_are_retried(
    tmp_path: Path, proxy: Trouble, trouble: str
) -> None:
    directory, mirror = run_in(tmp_path), open_mirror(s3_uri(proxy.port, trouble[:4]))
    if trouble == "drop":
        proxy.drops = 6
    else:
        proxy.slow_downs = 6
    with keep(mirror, directory):
        save(directory.checkpoints, 1)
    assert proxy.done == [trouble] * 6
    assert told(directory) == ["mirrored"]
    assert names(mirror) == ["step-000000001-001"]


def test_an_outage_leaves_the_copy_before_whole_and_is_told_with_its_place(
    tmp_path: Path, proxy: Trouble
) -> None:
    directory, uri = run_in(tmp_path), s3_uri(proxy.port, "outage")
    mirror = Mirror(RemoteFiles(uri, root=tmp_path, retries=FEW), "job/1")
    with keep(mirror, directory):
        save(directory.checkpoints, 1)
        wait_for(lambda: "mirrored" in told(directory))
        proxy.slow_downs = 10**9
        save(directory.checkpoints, 2)
        wait_for(lambda: "mirror-failed" in told(directory))
        proxy.slow_downs = 0
        wait_for(lambda: "mirror-recovered" in told(directory))
    assert told(directory) == ["mirrored", "mirror-failed", "mirrored", "mirror-recovered"]
    failed = read_json_lines(directory.events)[1]
    assert "s3://bucket/outage/job/1" in str(failed["reason"])
    assert "topsecret" not in directory.events.read_text()
    assert names(mirror) == ["step-000000002-001", "step-000000001-001"]


def test_a_bucket_that_is_not_there_is_named_at_once(tmp_path: Path, proxy: Trouble) -> None:
    uri = s3_uri(proxy.port, "x").replace("bucket/", "other/")
    remote = RemoteFiles(uri, root=tmp_path, retries=Retries(count=50, first_s=50.0))
    with pytest.raises(CheckpointError, match=r"cannot write s3://other/x/key: .*NO_SUCH_BUCKET"):
        remote.put_bytes(b"x", "key")


def test_a_storage_that_does_not_answer_is_not_taken_for_an_empty_one(
    tmp_path: Path, proxy: Trouble
) -> None:
    proxy.slow_downs = 10**9
    remote = RemoteFiles(s3_uri(proxy.port, "x"), root=tmp_path, retries=FEW)
    with pytest.raises(CheckpointError, match=r"cannot list s3://bucket/x/job: "):
        remote.sizes("job")
