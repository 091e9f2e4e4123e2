"""What is spent of the budgets: it outlives a driver, and a newer checkpoint gives it back."""

from pathlib import Path

import pytest

from orchestrator.run.budgets import BUDGETS_FILE, Account, read_account, write_account


def test_a_run_that_has_not_failed_has_spent_nothing(tmp_path: Path) -> None:
    assert read_account(tmp_path) == Account()


def test_what_one_driver_has_spent_the_next_one_knows(tmp_path: Path) -> None:
    for _ in range(3):
        write_account(read_account(tmp_path).charged("worker", step=0, last="x"), tmp_path)
    found = read_account(tmp_path)
    assert (found.spent, found.total, found.last) == ({"worker": 3}, {"worker": 3}, "x")
    assert [path.name for path in tmp_path.iterdir()] == [BUDGETS_FILE]


def test_classes_do_not_pay_for_each_other() -> None:
    account = Account().charged("worker", step=0).charged("node", step=0).charged("node", step=0)
    assert account.spent == {"worker": 1, "node": 2}
    assert account.overdrawn("node", 1)
    assert not account.overdrawn("worker", 1)
    assert not account.overdrawn("node", -1)
    assert Account().charged("oom", step=0).overdrawn("oom", 0)


@pytest.mark.parametrize(
    ("steps", "spent", "reached"),
    [
        ([0, 0, 0], 3, 0),
        ([10, 10, 10], 3, 10),
        ([0, 0, 10], 1, 10),
        ([0, 10, 10], 2, 10),
        # A checkpoint that was set aside is no progress, and neither is it to make it again.
        ([20, 10, 10, 20], 4, 20),
        ([20, 10, 30], 1, 30),
    ],
)
def test_only_a_newer_checkpoint_fills_the_budgets_again(
    steps: list[int], spent: int, reached: int
) -> None:
    account = Account()
    for step in steps:
        account = account.charged("hang", step=step)
    assert (account.spent, account.step) == ({"hang": spent}, reached)
    assert account.total == {"hang": len(steps)}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"spent": {"bad luck": 1}}', b"\xff"])
def test_a_damaged_account_does_not_end_a_run_and_is_told(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / BUDGETS_FILE).write_bytes(content)
    assert read_account(tmp_path) == Account()
    assert "is damaged" in caplog.text
