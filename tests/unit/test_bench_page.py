"""What becomes of a benchmark's outcome: text, a picture, a file, the page."""

import dataclasses
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.harness.bars import picture
from benchmarks.harness.kinds import kind_of, peer_ahead
from benchmarks.harness.outcome import Check, Figure, at_least, at_most
from benchmarks.harness.page import DOCS, RESULTS, page, write_page
from benchmarks.harness.record import BadRecordError, read_records, write_record
from benchmarks.harness.registry import WORKLOADS, load
from benchmarks.harness.repeat import Series
from benchmarks.harness.shown import number, remarks, table
from tests.support.outcomes import outcome, record

WORKLOAD_FILES = sorted((DOCS.parent / "benchmarks" / "workloads").glob("*.py"))


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (0.9512, "0.951"), (1.5, "1.5"), (12.34, "12.3"), (1234567.8, "1,234,568"),
     (0.00012, "0.00012"), (-3.0, "-3"), (100, "100")],
)  # fmt: skip
def test_a_number_has_the_digits_that_count(value: float, shown: str) -> None:
    assert number(value) == shown


def test_the_table_has_medians_spreads_targets_and_verdicts() -> None:
    shown = re.sub(" +", " ", table(outcome()))
    assert " P1 1,020 (1,000 - 1,100) rows/s" in shown
    assert " peak 3 MiB" in shown
    assert " ours / P1 0.5 (0.45 - 0.5) >= 0.9 MISSED" in shown
    assert " peak / plan 1.2 <= 1.5 met" in shown
    assert " ours / a peer 0.67 (0.66 - 0.67) - -" in shown
    assert "note: Only a toy." in shown


def test_a_limit_that_moved_and_a_peer_that_is_ahead_are_told() -> None:
    moved, ahead = remarks(outcome())
    assert moved.startswith("DRIFT: the limit P1 moved by +10%")
    assert ahead == "a peer is ahead of ours: the ratio is 0.67."


@pytest.mark.parametrize(
    ("check", "ahead"),
    [
        (at_most("ours / by hand", Series((1.2,)), None), "by hand"),
        (at_most("ours / by hand", Series((0.8,)), None), None),
        (at_least("ours / min(T, PC)", Series((0.8,)), None), None),
        (at_least("eta", Series((0.8,)), None), None),
    ],
    ids=str,
)
def test_a_peer_is_ahead_by_the_sense_of_its_ratio(check: Check, ahead: str | None) -> None:
    assert peer_ahead(check) == ahead


def test_figures_are_ours_limits_or_peers_by_their_names() -> None:
    found = [kind_of(figure, outcome()) for figure in outcome().figures]
    assert found == ["limit", "ours", "peer", "other"]


def test_a_result_comes_back_from_its_file(tmp_path: Path) -> None:
    path = write_record(record(), tmp_path)
    assert [path] == list(tmp_path.iterdir())
    back = read_records(tmp_path)
    assert page(back) == page({"toy": record()})
    assert table(back["toy"].outcome) == table(outcome())


def test_a_file_that_is_no_result_is_named(tmp_path: Path) -> None:
    (tmp_path / "toy.json").write_text('{"outcome": 3}', encoding="utf-8")
    with pytest.raises(BadRecordError, match=r"toy\.json: not the result of a benchmark"):
        read_records(tmp_path)


def test_the_page_sums_up_all_ratios_and_has_a_section_each(tmp_path: Path) -> None:
    shown = write_page({"toy": record()}, tmp_path).read_text(encoding="utf-8")
    assert "1 of 2 targets are met." in shown
    assert "| [toy](#w0-a-toy-2--3) | ours / P1 | 0.5 (0.45 - 0.5) | >= 0.9 | **MISSED** |" in shown
    assert "## W0: a toy, 2 < 3\n\nWhat is measured.\n\n![" in shown
    assert "- **DRIFT: the limit P1" in shown
    assert "`python -m benchmarks toy --rounds 3`, 1.5 minutes on 2026-01-02" in shown
    assert (tmp_path / "pictures" / "bench-toy.svg").exists()


def test_a_page_without_results_says_so() -> None:
    assert page({}).endswith("No results are stored yet.\n")


def test_nothing_of_a_picture_lies_outside_of_it() -> None:
    long = Figure(name="a name that is very long indeed " * 2, unit="rows/s", values=(1.0, 9e9))
    root = ElementTree.fromstring(
        picture(dataclasses.replace(outcome(), figures=[*outcome().figures, long]))
    )
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for text in root.iter("{http://www.w3.org/2000/svg}text"):
        at, wide = float(text.attrib["x"]), 7.5 * len(text.text or "")
        left = at - wide if text.get("class") == "right" else at
        assert 0 <= left <= left + wide <= width
        assert float(text.attrib["y"]) <= height


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_has_what_the_page_needs(name: str) -> None:
    workload = load(name)
    assert name == workload.NAME
    assert workload.TITLE
    assert workload.__doc__
    assert callable(workload.run)


def test_the_table_of_workloads_is_whole() -> None:
    files = {path.stem for path in WORKLOAD_FILES if "\nNAME = " in path.read_text("utf-8")}
    modules = {module.removeprefix("benchmarks.workloads.") for module in WORKLOADS.values()}
    assert modules == files


def test_the_stored_results_are_what_the_page_shows() -> None:
    records = read_records(RESULTS)
    shown = (DOCS / "benchmarks.md").read_text(encoding="utf-8")
    assert shown == page(records), "python -m benchmarks --page writes it anew"
    for name, each in records.items():
        drawn = DOCS / "pictures" / f"bench-{name}.svg"
        assert drawn.read_text(encoding="utf-8") == picture(each.outcome)
