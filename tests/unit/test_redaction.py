"""No secret survives, in whatever form it stands, and all else stays as it is."""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import SpecError
from orchestrator.jsonl import JsonLinesWriter
from orchestrator.redaction import process
from orchestrator.redaction.names import is_secret_name
from orchestrator.redaction.redactor import LEAST, Redactor
from orchestrator.redaction.streams import redacted_writes, scrub
from orchestrator.redaction.uris import credentials_in, redact_uris

# Letters that no stand-in has, so that what is found was really left over.
secrets = st.text(st.sampled_from("QXZ789\"'\\/+=é\n"), min_size=LEAST, max_size=20).filter(
    lambda text: len(text.strip()) >= LEAST and len(text.split("\n")) == 1
)
around = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
words = st.text(st.sampled_from("abcdefghij0123456789-_"), min_size=1, max_size=12)


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    process.forget()
    yield
    process.forget()


@given(secret=secrets, before=around, after=around)
def test_a_value_is_found_plain_and_in_every_quoting(secret: str, before: str, after: str) -> None:
    redactor = Redactor({"VALUE": secret})
    for form in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], quote(secret, safe="")):
        assert form not in redactor.text(before + form + after)


@given(values=st.lists(secrets, min_size=1, max_size=4), text=around)
def test_redacting_twice_changes_nothing_more(values: list[str], text: str) -> None:
    redactor = Redactor({f"V{number}": value for number, value in enumerate(values)})
    once = redactor.text(f"{text} {' '.join(values)} {text}")
    assert redactor.text(once) == once


@given(text=st.text(st.characters(exclude_characters=":=@")))
def test_a_text_without_secrets_stays(text: str) -> None:
    assert Redactor({"VALUE": "QXZQXZQXZ-never-there"}).text(text) == text


@given(user=words, password=words.map(lambda word: f"{word}QXZ!"), host=words, rest=words)
def test_a_password_in_a_uri_is_hidden_and_the_rest_stays(
    user: str, password: str, host: str, rest: str
) -> None:
    shown = redact_uris(f"cannot read s3://{user}:{password}@{host}/{rest}: denied")
    assert shown == f"cannot read s3://***@{host}/{rest}: denied"
    assert redact_uris(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://AKIA1:ab/cd+ef@bucket/x", "s3://***@bucket/x"),
        ("https://ghp_123@github.com/a", "https://***@github.com/a"),
        ("https://h/x?token=abc&page=2", "https://h/x?token=***&page=2"),
        ("https://h/x?sv=1&sig=a%2Fb%3D&se=2", "https://h/x?sv=1&sig=***&se=2"),
        ("s3://b/x?access_key=K&secret_key=S", "s3://b/x?access_key=***&secret_key=***"),
        ("?X-Amz-Signature=abc&X-Amz-Date=1", "?X-Amz-Signature=***&X-Amz-Date=1"),
        ("?AWSAccessKeyId=abc", "?AWSAccessKeyId=***"),
        ("s3://${env:KEY}:${env:SECRET}@b/x", "s3://${env:KEY}:${env:SECRET}@b/x"),
        ("abfss://container@account.dfs/x", "abfss://container@account.dfs/x"),
        ("http://host:9000/bucket@home", "http://host:9000/bucket@home"),
        ("/data/a=b/c@d", "/data/a=b/c@d"),
        ("anna@example.org", "anna@example.org"),
    ],
)
def test_credentials_in_uris(text: str, shown: str) -> None:
    assert redact_uris(text) == shown


def test_credentials_of_a_uri_are_hidden_where_they_stand_alone_too() -> None:
    found = credentials_in("s3://AKIAQXZ12:pass%2Fword1@bucket/x?token=tok-en-123")
    assert {"AKIAQXZ12", "pass%2Fword1", "pass/word1", "tok-en-123"} <= found
    assert "training" not in credentials_in("s3://training:secret-word@bucket")
    assert Redactor({}, found).text("no such key AKIAQXZ12") == "no such key ***"


def test_lines_of_a_long_value_are_hidden_one_by_one() -> None:
    key = "-----BEGIN-----\nMIIEabcdef\nxyz123xyz\n-----END-----\n"
    assert "MIIEabcdef" not in Redactor({"KEY": key}).text("(worker) MIIEabcdef")


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("AWS_SECRET_ACCESS_KEY", True),
        ("GITHUB_TOKEN", True),
        ("DB_PASSWORD", True),
        ("apiKey", True),
        ("sig", True),
        ("PWD", False),
        ("TOKENIZERS_PARALLELISM", False),
        ("KEYBOARD", False),
        ("MONKEY", False),
        ("RAY_AUTH_TOKEN_PATH", False),
        ("HOME", False),
    ],
)
def test_names_of_secrets(name: str, secret: bool) -> None:
    assert is_secret_name(name) is secret


def test_every_writer_of_the_process_knows_what_is_hidden(tmp_path: Path) -> None:
    process.hide_environment({"MY_TOKEN": "QXZ-token-1", "HOME": "/home/anna"})
    error = SpecError("got QXZ-token-1", hint="not QXZ-token-1", problems=("QXZ-token-1",))
    assert str(error) == "got ${env:MY_TOKEN}"
    assert "QXZ" not in f"{error.hint}{error.problems}"
    with JsonLinesWriter(tmp_path / "events.jsonl") as writer:
        writer.write({"reason": "QXZ-token-1 /home/anna", "deep": [{"QXZ-token-1": 1}]})
    line = (tmp_path / "events.jsonl").read_text()
    assert "QXZ" not in line
    assert "/home/anna" in line


def test_a_command_keeps_the_names_of_its_settings() -> None:
    process.hide({"V": "QXZ-value"})
    shown = process.redact_command(["run", "training.with.api_token=abc", "a.b=QXZ-value"])
    assert shown == ["run", "training.with.api_token=***", "a.b=${env:V}"]


def test_streams_and_logs_are_redacted(tmp_path: Path) -> None:
    process.hide({"V": "QXZ-value"})
    log = tmp_path / "log.txt"
    with log.open("w") as file:
        kept = file.write
        with redacted_writes(file):
            print("a QXZ-value b", file=file)  # this is what is tested
            kept("late QXZ-value\n")
        file.write("after QXZ-value\n")
    assert log.read_text() == "a ${env:V} b\nlate QXZ-value\nafter QXZ-value\n"
    log.write_bytes(log.read_bytes() + b"\xff\r\n")
    scrub(log)
    assert b"QXZ" not in log.read_bytes()
    assert log.read_bytes().endswith(b"\xff\r\n")
    assert [path.name for path in tmp_path.iterdir()] == ["log.txt"]
