"""Parquet as a source: what is indexed, what is read, and what is refused by name."""

import os
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.data import parquet_read
from orchestrator.data.codec import Columns
from orchestrator.data.parquet_index import index_parquet
from orchestrator.data.parquet_read import read_pieces
from orchestrator.errors import DataError
from orchestrator.plan.index import DatasetIndex
from orchestrator.plan.order import Piece

BAD_FILES = Path(__file__).parents[2].parent / "shared" / "corpora" / "parquet-bad"


def write(path: Path, table: pa.Table | dict[str, object], *, row_group: int = 4) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    made = table if isinstance(table, pa.Table) else pa.table(table)
    pq.write_table(made, path, row_group_size=row_group)
    return path


def index(root: Path, *paths: str, columns: list[str] | None = None) -> DatasetIndex:
    return index_parquet(paths or ["."], root=root, columns=columns, where="dataset.train")


def read_all(found: DatasetIndex) -> Columns:
    pieces = [
        Piece(fragment=number, start=0, stop=fragment.rows)
        for number, fragment in enumerate(found.fragments)
    ]
    return read_pieces(found, pieces)


def refusal_of(root: Path, *paths: str) -> str | None:
    """Why the files cannot be read; None where all their rows can."""
    try:
        found = index(root, *paths)
        columns = read_all(found)
    except DataError as error:
        return str(error)
    assert {len(column) for column in columns.values()} == {found.rows}
    return None


def test_row_groups_are_indexed_in_the_order_of_the_files_names(tmp_path: Path) -> None:
    write(tmp_path / "b.parquet", {"id": np.arange(10, 13)})
    write(tmp_path / "a.parquet", {"id": np.arange(10)})
    found = index(tmp_path)
    assert [(Path(f.path).name, f.row_group, f.rows) for f in found.fragments] == [
        ("a.parquet", 0, 4),
        ("a.parquet", 1, 4),
        ("a.parquet", 2, 2),
        ("b.parquet", 0, 3),
    ]
    assert (found.rows, found.files) == (13, 2)
    assert read_all(found)["id"].tolist() == list(range(13))


def test_bytes_are_those_of_the_wanted_columns(tmp_path: Path) -> None:
    write(
        tmp_path / "a.parquet", {"id": np.arange(1000), "x": np.random.default_rng(0).random(1000)}
    )
    whole, part = index(tmp_path), index(tmp_path, columns=["id"])
    assert 0 < part.bytes < whole.bytes
    assert whole.bytes - part.bytes >= 8000


def test_folders_globs_and_files_are_taken_and_marked_ones_left_out(tmp_path: Path) -> None:
    for name in (
        "a/1.parquet",
        "a/deep/2.parquet",
        "a/_tmp/3.parquet",
        "a/.4.parquet",
        "b/5.parquet",
    ):
        write(tmp_path / name, {"id": [int(Path(name).stem.strip("."))]})
    (tmp_path / "a" / "notes.txt").write_text("no table")
    for paths, wanted in [
        (["a"], [1, 2]),
        (["b", "a"], [5, 1, 2]),
        (["*/*.parquet"], [1, 5]),
        (["a/1.parquet", str(tmp_path / "b")], [1, 5]),
        (["**/[25].parquet"], [2, 5]),
    ]:
        assert read_all(index(tmp_path, *paths))["id"].tolist() == wanted


@pytest.mark.parametrize("path", ["missing", "missing.parquet", "*.parquet", "folder", "folder/*"])
def test_a_path_without_files_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=r"^dataset\.train: .*(does not exist|holds no|matches no)"):
        index(tmp_path, path)


def test_what_may_have_been_meant_is_offered(tmp_path: Path) -> None:
    write(tmp_path / "train" / "a.parquet", {"id": [1]})
    for path in ("trian", "trian/a.parquet", "trian/*.parquet"):
        with pytest.raises(DataError, match=r'; did you mean "/.*/train"\?$'):
            index(tmp_path, path)
    (tmp_path / "texts").mkdir()
    for name in ("b.csv", "a.csv"):
        (tmp_path / "texts" / name).touch()
    with pytest.raises(DataError, match=r"holds no \*\.parquet file, but a\.csv and others$"):
        index(tmp_path, "texts")


def test_a_path_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^dataset\.train: .*: File name too long$"):
        index(tmp_path, "x" * 300)


def test_a_missing_column_is_named_beside_those_there_are(tmp_path: Path) -> None:
    file = write(tmp_path / "a.parquet", {"id": [1], "x": [2]})
    with pytest.raises(DataError) as caught:
        index(tmp_path, columns=["x", "y", "z"])
    assert str(caught.value) == f"dataset.train: {file} has no column 'y', 'z'; it has id, x"
    write(file, {"label": [1], "weight": [2]})
    with pytest.raises(DataError, match=r"no column 'lable'; did you mean 'label'\? it has label,"):
        index(tmp_path, columns=["lable"])


def test_files_without_rows_are_passed_over_but_not_if_all_are(tmp_path: Path) -> None:
    empty = pa.table({"id": pa.array([], pa.int64())})
    write(tmp_path / "a.parquet", empty)
    with pytest.raises(DataError, match=r"no rows in 1 file of \."):
        index(tmp_path)
    write(tmp_path / "b.parquet", {"id": [1, 2]})
    assert read_all(index(tmp_path))["id"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"id": ["1"]}, r"b\.parquet: column 'id' is string, but int64 in .*a\.parquet"),
        ({"id": pa.array([1], pa.int32())}, "column 'id' is int32, but int64"),
        ({"x": [1]}, r"b\.parquet has no column 'id', but .*a\.parquet has"),
        ({"id": [1], "x": [1]}, r"b\.parquet has a column 'x' that .*a\.parquet lacks"),
    ],
)
def test_files_that_do_not_agree_are_refused_by_name(
    tmp_path: Path, second: dict[str, object], message: str
) -> None:
    write(tmp_path / "a.parquet", {"id": [1]})
    write(tmp_path / "b.parquet", second)
    with pytest.raises(DataError, match=message):
        index(tmp_path)


def test_files_may_differ_in_what_does_not_matter(tmp_path: Path) -> None:
    strict = pa.schema([pa.field("x", pa.int64()), pa.field("id", pa.int64(), nullable=False)])
    write(tmp_path / "a.parquet", {"id": [1], "x": [2]})
    write(tmp_path / "b.parquet", pa.table({"x": [4], "id": [3]}, schema=strict))
    noted = pa.table({"id": [5], "x": [6]}).replace_schema_metadata({"by": "somebody"})
    write(tmp_path / "c.parquet", noted)
    columns = read_all(index(tmp_path))
    assert columns["id"].tolist() == [1, 3, 5]
    assert columns["x"].tolist() == [2, 4, 6]


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        (pa.array(["x", None]), pa.array(["y", "z"], pa.large_string()), ["x", None, "y", "z"]),
        (pa.array(["x", None]), pa.array(["y", None], pa.string_view()), ["x", None, "y", None]),
        (
            pa.array(["x", None]).dictionary_encode(),
            pa.array(["y", "z", None]),
            ["x", None, "y", "z", None],
        ),
        (
            # The index of a dictionary grows with the number of categories.
            pa.DictionaryArray.from_arrays(pa.array([0, None], pa.int8()), ["x"]),
            pa.DictionaryArray.from_arrays(pa.array([1, 0], pa.int16()), ["y", "z"]),
            ["x", None, "z", "y"],
        ),
        (
            pa.array([b"x"], pa.binary()),
            pa.array([b"y", None], pa.large_binary()),
            [b"x", b"y", None],
        ),
    ],
    ids=["large", "view", "dictionary", "categories", "bytes"],
)
def test_files_may_store_the_same_type_in_other_ways(
    tmp_path: Path, one: pa.Array, other: pa.Array, wanted: list[object]
) -> None:
    for first, second in (("a", "b"), ("b", "a")):
        folder = tmp_path / first
        write(folder / f"{first}.parquet", {"x": one})
        write(folder / f"{second}.parquet", {"x": other})
        got = read_all(index(folder))["x"].tolist()
        assert sorted(map(str, got)) == sorted(map(str, wanted))


def test_lists_may_differ_in_the_names_and_promises_of_their_entries(tmp_path: Path) -> None:
    kinds = [
        pa.list_(pa.field("item", pa.int64(), nullable=False)),
        pa.list_(pa.field("element", pa.int64())),
        pa.large_list(pa.field("element", pa.int64())),
    ]
    for number, kind in enumerate(kinds):
        write(tmp_path / f"{number}.parquet", {"x": pa.array([[number], [1, 2]], kind)})
    found = index(tmp_path)
    assert [column.dtype for column in found.columns] == ["list<item: int64>"]
    assert [list(row) for row in read_all(found)["x"]] == [[0], [1, 2], [1], [1, 2], [2], [1, 2]]


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (
            pa.array([1], pa.timestamp("us", "UTC")),
            pa.array([1], pa.timestamp("us")),
            r"b\.parquet: column 'x' is timestamp\[us\], but timestamp\[us, tz=UTC\] in .*a\.parq",
        ),
        (
            pa.array([[1, 2]], pa.list_(pa.int64(), 2)),
            pa.array([[1, 2, 3]], pa.list_(pa.int64(), 3)),
            r"b\.parquet: column 'x' is fixed_size_list<.*>\[3\], but fixed_size_list<.*>\[2\] in",
        ),
        (
            pa.array([{"p": 1}]),
            pa.array([{"p": 1.5}]),
            r"b\.parquet: column 'x' is struct<p: double>, but struct<p: int64> in .*a\.parquet",
        ),
        (
            pa.array([[{"p": 1}]]),
            pa.array([[{"p": 1, "q": 2}]]),
            r"column 'x' is list<item: struct<p: int64, q: int64>>, but list<item: struct<p",
        ),
        (
            pa.array(["1"]).dictionary_encode(),
            pa.array([1]).dictionary_encode(),
            r"b\.parquet: column 'x' is int64, but string in .*a\.parquet",
        ),
        (pa.array([1.5]), pa.array([None]), r"b\.parquet: column 'x' is null, but double in"),
        (pa.array([1.5]), pa.array([1.5], pa.float32()), "column 'x' is float, but double in"),
    ],
    ids=["zone", "length", "struct", "nested", "dictionary", "null", "width"],
)
def test_types_that_differ_inside_are_refused_by_file_and_column(
    tmp_path: Path, one: pa.Array, other: pa.Array, message: str
) -> None:
    write(tmp_path / "a.parquet", {"id": [1], "x": one})
    write(tmp_path / "b.parquet", {"id": [1], "x": other})
    with pytest.raises(DataError, match=message):
        index(tmp_path)
    # What is not wanted may differ.
    assert read_all(index(tmp_path, columns=["id"]))["id"].tolist() == [1, 1]


def test_files_without_rows_may_have_any_columns(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"other": pa.array([], pa.null())})
    write(tmp_path / "b.parquet", {"id": [1, 2]})
    write(tmp_path / "c.parquet", {"id": pa.array([], pa.string())})
    assert read_all(index(tmp_path, columns=["id"]))["id"].tolist() == [1, 2]


def test_a_folder_of_files_without_rows_has_no_rows(tmp_path: Path) -> None:
    for name in "abc":
        write(tmp_path / f"{name}.parquet", {"id": pa.array([], pa.int64())})
    with pytest.raises(DataError, match=r"^dataset\.train: no rows in 3 files of \.$"):
        index(tmp_path)


def test_an_empty_file_among_good_ones_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"id": [1]})
    (tmp_path / "b.parquet").touch()
    with pytest.raises(DataError, match=r"b\.parquet: not a readable Parquet file: .* 0 bytes"):
        index(tmp_path)


@pytest.mark.parametrize("columns", [1, 3000], ids=["short", "long"])
def test_other_values_in_as_many_rows_are_another_digest(tmp_path: Path, columns: int) -> None:
    def digest() -> str:
        return index(tmp_path).digest(str(tmp_path))

    names = [f"column-{number}" for number in range(columns)]
    for name in "ab":
        write(tmp_path / f"{name}.parquet", {name: [1, 2, 3] for name in names})
    before = digest()
    table = {name: [1, 2, 3] for name in names}
    write(tmp_path / "b.parquet", table)
    assert digest() == before
    write(tmp_path / "b.parquet", {**table, names[-1]: [1, 2, 4]})
    found = index(tmp_path)
    assert found.rows == 6
    assert digest() != before
    a, b = found.listing(str(tmp_path)).items()
    assert (a[0], b[0]) == ("a.parquet", "b.parquet")
    assert a[1] != b[1]


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["id", "id"])
    write(tmp_path / "a.parquet", twice)
    with pytest.raises(DataError, match=r"a\.parquet has more than one column 'id'"):
        index(tmp_path)


@pytest.mark.parametrize(
    ("kind", "filled", "gap", "dtype"),
    [
        (pa.int64(), 3, None, np.float64),
        (pa.uint8(), 3, None, np.float64),
        (pa.bool_(), True, None, np.float32),
        (pa.float32(), 3.5, None, np.float32),
        (pa.float16(), np.float16(3.5), None, np.float16),
        (pa.list_(pa.int64(), 2), [3, 4], None, np.float64),
        (pa.list_(pa.int64(), 2), [3, 4], [3, None], np.float64),
        (pa.list_(pa.float32(), 2), [3.5, 4.5], None, np.float32),
    ],
)
@pytest.mark.parametrize("name", ["x", "x.y"])
def test_a_gap_anywhere_makes_a_column_the_same_kind_everywhere(
    tmp_path: Path, kind: pa.DataType, filled: object, gap: object, dtype: type, name: str
) -> None:
    write(tmp_path / "a.parquet", {name: pa.array([filled] * 4, kind)})
    write(tmp_path / "b.parquet", {name: pa.array([filled, gap, filled], kind)})
    found = index(tmp_path)
    without = read_pieces(found, [Piece(fragment=0, start=1, stop=3)])[name]
    some = read_pieces(found, [Piece(fragment=1, start=0, stop=3)])[name]
    assert without.dtype == some.dtype == dtype
    assert without.shape[1:] == some.shape[1:]
    assert not np.isnan(without).any()
    assert np.isnan(some).any()
    np.testing.assert_array_equal(some[0], without[0])
    np.testing.assert_array_equal(some[2], without[0])


def test_whole_numbers_without_gaps_stay_whole(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"x": pa.array([1, 2], pa.uint8()), "y": [True, False]})
    columns = read_all(index(tmp_path))
    assert (columns["x"].dtype, columns["y"].dtype) == (np.uint8, np.bool_)


def test_lists_of_one_length_become_one_array(tmp_path: Path) -> None:
    x = np.arange(24, dtype=np.float32).reshape(12, 2)
    write(tmp_path / "a.parquet", {"x": pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), 2)})
    found = index(tmp_path)
    pieces = [Piece(fragment=2, start=1, stop=3), Piece(fragment=0, start=3, stop=4)]
    got = read_pieces(found, pieces)["x"]
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, x[[9, 10, 3]])


def test_texts_bytes_and_dictionaries_come_with_their_gaps(tmp_path: Path) -> None:
    for number, words in enumerate((["x", "y", None], ["z", None, "y"])):
        table = {
            "text": words,
            "coded": pa.array(words).dictionary_encode(),
            "bytes": pa.array([word and word.encode() for word in words], pa.binary()),
        }
        write(tmp_path / f"{number}.parquet", table)
    columns = read_all(index(tmp_path))
    assert columns["text"].tolist() == ["x", "y", None, "z", None, "y"]
    assert columns["coded"].tolist() == columns["text"].tolist()
    assert columns["bytes"].tolist() == [b"x", b"y", None, b"z", None, b"y"]


def test_pieces_are_laid_end_to_end_in_their_order(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"id": np.arange(12)})
    pieces = [
        Piece(fragment=2, start=2, stop=4),
        Piece(fragment=0, start=0, stop=1),
        Piece(fragment=1, start=1, stop=2),
    ]
    assert read_pieces(index(tmp_path), pieces)["id"].tolist() == [10, 11, 0, 5]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"id": np.arange(7)}, r"row group 1 has 3 rows, the index says 4"),
        ({"id": np.arange(4)}, r"row group 1 is gone"),
        ({"x": np.arange(8)}, r"row group 0 has no column 'id'"),
        ({"id": np.arange(8.0)}, r"row group 0: column 'id' is double, the index says int64"),
        (
            {"id": [0, 1, None, 3, 4, 5, 6, 7]},
            r"row group 0: column 'id' has gaps, the index says it has none",
        ),
        (None, r"row group 0 cannot be read: .*No such file"),
    ],
)
def test_a_file_that_changed_after_it_was_indexed_is_refused_by_name(
    tmp_path: Path, changed: dict[str, object] | None, message: str
) -> None:
    file = write(tmp_path / "a.parquet", {"id": np.arange(8)})
    found = index(tmp_path)
    if changed is None:
        file.unlink()
    else:
        write(file, changed)
    with pytest.raises(DataError, match=rf"a\.parquet: {message}"):
        read_all(found)


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"PAR1PAR1", b"\0" * 100, b"id,x\n1,2\n", b"PAR1\xff\xff\xff\x7fPAR1"]
)
def test_a_file_that_is_no_parquet_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.parquet: not a readable Parquet file"):
        index(tmp_path)


def test_storage_that_fails_is_asked_again_and_is_no_damaged_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(parquet_read, "_RETRY_PAUSES_S", (0.0, 0.0))
    file = write(tmp_path / "a.parquet", {"id": np.arange(8)})
    found = index(tmp_path)
    file.unlink()
    file.symlink_to(file)
    with pytest.raises(OSError, match="symbolic links"):
        read_all(found)
    assert caplog.text.count("trying again") == 2


def test_a_file_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"id": np.arange(8)})
    with pytest.raises(DataError, match=r"a\.parquet is named 2 times by \*\.parquet, a\.parquet"):
        index(tmp_path, "*.parquet", "a.parquet")


def test_sizes_are_those_in_memory_not_as_encoded(tmp_path: Path) -> None:
    padding = np.zeros((1000, 64), dtype=np.int64)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(padding.ravel()), 64)
    table = pa.table({"tokens": lists, "label": np.zeros(1000, np.float32)})
    pq.write_table(table, tmp_path / "a.parquet")
    assert index(tmp_path).bytes == 1000 * (64 * 8 + 4)


def test_damaged_rows_give_a_data_error_that_names_the_file_or_can_be_read(tmp_path: Path) -> None:
    table = {
        "id": range(40),
        "word": [f"word {number}" for number in range(40)],
        "gap": [number if number % 3 else None for number in range(40)],
        "vector": pa.array([[number, number] for number in range(40)], pa.list_(pa.int32(), 2)),
    }
    file = write(tmp_path / "a.parquet", table, row_group=13)
    sound = file.read_bytes()
    # The footer stays whole: some of what can be wrong in one ends Arrow's process at once.
    footer = int.from_bytes(sound[-8:-4], "little") + 8
    generator = random.Random(4)
    refused = 0
    for _ in range(300):
        damaged = bytearray(sound)
        for _ in range(generator.choice([1, 4])):
            damaged[generator.randrange(4, len(sound) - footer)] = generator.randrange(256)
        file.write_bytes(damaged)
        refusal = refusal_of(tmp_path)
        assert refusal is None or str(file) in refusal
        refused += refusal is not None
    assert refused > 50


def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "a.parquet", {"id": range(40)})
    sound = file.read_bytes()
    for length in range(0, len(sound), 7):
        file.write_bytes(sound[:length])
        with pytest.raises(DataError, match=r"a\.parquet"):
            index(tmp_path)


@pytest.mark.skipif(not BAD_FILES.is_dir(), reason="needs the corpus of damaged Parquet files")
def test_files_that_once_broke_readers_are_refused_by_name_or_read() -> None:
    files = sorted(BAD_FILES.glob("*.parquet"))
    assert files
    for file in files:
        refusal = refusal_of(BAD_FILES, file.name)
        assert refusal is None or file.name in refusal


def test_a_file_that_may_not_be_read_is_refused_by_name(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read anything")
    write(tmp_path / "a.parquet", {"id": [1]}).chmod(0)
    with pytest.raises(DataError, match=r"a\.parquet: not a readable Parquet file: .*ermission"):
        index(tmp_path)
