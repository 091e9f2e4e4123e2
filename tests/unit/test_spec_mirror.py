"""What checkpoint.mirror takes; a secret in it is refused and not repeated."""

import pytest

from orchestrator.spec.place import problem_of_place


@pytest.mark.parametrize(
    "uri",
    [
        "/mnt/copies",
        "copies",
        "s3://bucket/prefix",
        "gs://bucket",
        "s3://bucket/p?region=eu-west-1&scheme=http&endpoint_override=127.0.0.1:5000",
    ],
)
def test_a_path_or_a_bucket_is_taken(uri: str) -> None:
    assert problem_of_place(uri) is None


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("s3://AKIA:hunter2@bucket/p", "no credentials"),
        ("s3://bucket/p?secret_key=hunter2", "no options but"),
        ("ftp://bucket/p", "'ftp'"),
        ("s3:///p", "with a bucket"),
        ("s3://[bucket/hunter2", "a URI such as"),
    ],
)
def test_anything_else_is_refused_without_repeating_it(uri: str, words: str) -> None:
    problem = problem_of_place(uri)
    assert problem is not None
    assert words in problem
    assert "hunter2" not in problem
