"""A manifest reads back as it was written, or says what is wrong with it."""

import hashlib
import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.checkpoint.manifest import (
    DamagedError,
    FileEntry,
    Manifest,
    checkpoint_name,
    parse_checkpoint_name,
)
from orchestrator.errors import CheckpointError

ENTRY = FileEntry(path="model/weights.bin", size=3, sha256=hashlib.sha256(b"abc").hexdigest())
MANIFEST = Manifest(
    name="step-000000300-002",
    attempt=2,
    step=300,
    cursor={"epoch": 1, "step": 44},
    metrics={"loss": 0.25},
    order_fingerprint="f00d",
    parts={"seed": "1"},
    files=(ENTRY,),
    created_at=1.5,
    versions={"torch": "2"},
)

texts = st.text(max_size=8)
manifests = st.builds(
    Manifest,
    name=texts,
    attempt=st.integers(0, 999),
    step=st.integers(0, 10**12),
    cursor=st.fixed_dictionaries({"epoch": st.integers(), "step": st.integers(0, 99)}),
    metrics=st.dictionaries(texts, st.floats(allow_nan=False)),
    order_fingerprint=texts,
    parts=st.dictionaries(texts, texts),
    files=st.just((ENTRY,)),
    created_at=st.floats(allow_nan=False),
    versions=st.dictionaries(texts, texts),
)


def sealed(**changes: object) -> bytes:
    """The bytes of a manifest that was written so, checksum and all."""
    content = {**json.loads(MANIFEST.to_bytes()), **changes}
    del content["checksum"]
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return json.dumps(
        {"checksum": hashlib.sha256(canonical.encode()).hexdigest(), **content}
    ).encode()


@given(manifests)
def test_a_manifest_reads_back_as_it_was_written(manifest: Manifest) -> None:
    again = Manifest.from_bytes(manifest.to_bytes())
    assert again == manifest
    assert again.digest == manifest.digest == hashlib.sha256(manifest.to_bytes()).hexdigest()


def test_metrics_that_are_no_numbers_survive() -> None:
    written = replace(MANIFEST, metrics={"a": math.nan, "b": math.inf})
    metrics = Manifest.from_bytes(written.to_bytes()).metrics
    assert math.isnan(metrics["a"])
    assert metrics["b"] == math.inf


@given(st.integers(0, len(MANIFEST.to_bytes()) * 8 - 1))
def test_a_flipped_bit_is_found_or_changes_nothing(position: int) -> None:
    data = bytearray(MANIFEST.to_bytes())
    data[position // 8] ^= 1 << position % 8
    try:
        assert Manifest.from_bytes(bytes(data)) == MANIFEST
    except DamagedError:
        return


@given(st.integers(0, len(MANIFEST.to_bytes()) - 2))
def test_a_cut_off_manifest_is_found(length: int) -> None:
    with pytest.raises(DamagedError):
        Manifest.from_bytes(MANIFEST.to_bytes()[:length])


@given(st.binary(max_size=64) | st.just(b"[" * 100_000) | st.just(b'{"checksum": 1}'))
def test_bytes_that_are_no_manifest_are_refused(data: bytes) -> None:
    with pytest.raises(DamagedError):
        Manifest.from_bytes(data)


def test_a_key_of_a_newer_writer_is_ignored() -> None:
    assert Manifest.from_bytes(sealed(colour="green")) == MANIFEST


def test_an_unknown_format_is_refused_but_not_called_damaged() -> None:
    with pytest.raises(CheckpointError, match="format_version: got 2, wanted 1") as caught:
        Manifest.from_bytes(sealed(format_version=2))
    assert not isinstance(caught.value, DamagedError)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"step": "300"}, "step: "),
        ({"step": -1}, "step: "),
        ({"attempt": True}, "attempt: "),
        ({"cursor": {"epoch": 1}}, "cursor: .*lacks step"),
        ({"metrics": None}, "metrics: "),
        ({"files": [{"path": "a", "size": 1}]}, "files.0.sha256: "),
        ({"files": [{"path": "a", "size": -1, "sha256": "0" * 64}]}, "files.0.size: "),
        ({"files": [{"path": "a", "size": 1, "sha256": "xyz"}]}, "files.0.sha256: "),
        ({"files": [{"path": "a", "size": 1, "sha256": "0" * 64}] * 2}, "files: .*twice"),
    ],
)
def test_a_wrong_shape_is_refused_by_name(changes: dict[str, object], problem: str) -> None:
    with pytest.raises(DamagedError, match=problem):
        Manifest.from_bytes(sealed(**changes))


@pytest.mark.parametrize(
    "path",
    ["", ".", "/etc/passwd", "../x", "a/../../x", "a/..", "a//b", "./a", "a\0b", "MANIFEST.json"],
)
def test_a_path_outside_the_directory_is_refused(path: str) -> None:
    files = [{"path": path, "size": 1, "sha256": "0" * 64}]
    with pytest.raises(DamagedError, match=r"files\.0\.path"):
        Manifest.from_bytes(sealed(files=files))


@given(st.integers(0, 10**11), st.integers(0, 10**5))
def test_a_name_says_step_and_attempt(step: int, attempt: int) -> None:
    assert parse_checkpoint_name(checkpoint_name(step, attempt)) == (step, attempt)
    assert parse_checkpoint_name(checkpoint_name(step, attempt) + "-c") == (step, attempt)


@pytest.mark.parametrize("name", ["", "..", "set-aside", "step-1-1", "step-000000001-001/..", "x"])
def test_other_names_are_no_checkpoints(name: str) -> None:
    assert parse_checkpoint_name(name) is None
    assert parse_checkpoint_name("step-000000001-001\n") is None
