"""The digits recipe: what is written, and what the transforms do to a row."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.datasets import load_digits

from orchestrator import RowRandom
from orchestrator.jsonl import read_json_lines
from orchestrator.report.records import TrainRecord, ValidationRecord, parse_records
from pipelines.digits.loop import train
from pipelines.digits.prepare import main, prepare
from pipelines.digits.task import DigitsTask
from pipelines.digits.transforms import PAPER, Augment, normalise
from tests.support.books import run_own_loop
from tests.support.training import make_plan

SPLITS = {"train": 1437, "validation": 360}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prepared") / "digits"
    assert prepare(out)
    return out


def read_batch(folder: Path) -> dict[str, np.ndarray]:
    table = pq.read_table(folder).combine_chunks()
    images = table["image"].combine_chunks().flatten().to_numpy().reshape(-1, 64)
    return {"image": images} | {name: table[name].to_numpy() for name in ("id", "label")}


def random_for(rows: np.ndarray, *, epoch: int = 0) -> RowRandom:
    return RowRandom(7, epoch, rows)


def test_each_image_is_in_exactly_one_split_unchanged(digits: Path) -> None:
    source = load_digits()
    splits = {split: read_batch(digits / split) for split in SPLITS}
    assert {split: len(batch["id"]) for split, batch in splits.items()} == SPLITS
    ids = np.concatenate([batch["id"] for batch in splits.values()])
    assert sorted(ids) == list(range(1797))
    for batch in splits.values():
        np.testing.assert_array_equal(batch["image"], source.data[batch["id"]])
        np.testing.assert_array_equal(batch["label"], source.target[batch["id"]])


def test_both_splits_have_the_same_share_of_each_digit(digits: Path) -> None:
    shares = [np.bincount(read_batch(digits / split)["label"]) / n for split, n in SPLITS.items()]
    np.testing.assert_allclose(shares[0], shares[1], atol=0.003)


@pytest.mark.parametrize(("split", "num_files"), [("train", 4), ("validation", 2)])
def test_a_split_has_several_files_of_several_row_groups(
    digits: Path, split: str, num_files: int
) -> None:
    files = sorted((digits / split).iterdir())
    assert [file.name for file in files] == [f"part-{n}.parquet" for n in range(num_files)]
    for file in files:
        assert pq.read_metadata(file).num_row_groups == 4
        assert pq.read_schema(file) == pa.schema(
            {"id": pa.int64(), "image": pa.list_(pa.uint8(), 64), "label": pa.int64()}
        )


def test_preparing_twice_writes_the_same_bytes(digits: Path, tmp_path: Path) -> None:
    prepare(tmp_path / "digits")
    for file in digits.rglob("*.parquet"):
        again = tmp_path / "digits" / file.relative_to(digits)
        assert again.read_bytes() == file.read_bytes()


def test_a_prepared_data_set_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "new" / "digits"
    main(["--out", str(out)])
    before = {file: file.stat().st_mtime_ns for file in out.rglob("*")}
    assert not prepare(out)
    assert {file: file.stat().st_mtime_ns for file in out.rglob("*")} == before


def test_a_folder_with_something_else_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="is no prepared data"):
        prepare(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_failed_preparation_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []

    def fail_on_the_third_file(table: pa.Table, path: Path, **_: object) -> None:
        if len(written) == 2:
            raise OSError("no space left")
        path.write_bytes(b"half")
        written.append(path)

    monkeypatch.setattr(pq, "write_table", fail_on_the_third_file)
    with pytest.raises(OSError, match="no space left"):
        prepare(tmp_path / "digits")
    assert len(written) == 2
    assert list(tmp_path.iterdir()) == []


def test_normalised_training_images_have_mean_0_and_deviation_1(digits: Path) -> None:
    batch = read_batch(digits / "train")
    normal = normalise(batch)
    assert normal["image"].shape == (1437, 1, 8, 8)
    assert normal["image"].dtype == np.float32
    assert abs(normal["image"].mean()) < 0.001
    assert abs(normal["image"].std() - 1) < 0.001
    assert normal["label"] is batch["label"]
    assert batch["image"].dtype == np.uint8


def test_no_shift_and_no_turn_leave_the_image_as_it_is(digits: Path) -> None:
    batch = normalise(read_batch(digits / "validation"))
    same = Augment(shift=0, degrees=0)(batch, random_for(batch["id"]))
    np.testing.assert_array_equal(same["image"], batch["image"])


class FixedDraws:
    """Stands for RowRandom: every row draws the same given values, one after another."""

    def __init__(self, rows: int, *values: float) -> None:
        self.rows = rows
        self.values = list(values)

    def uniform(self, low: float, high: float) -> np.ndarray:
        value = self.values.pop(0)
        assert low <= value <= high
        return np.full(self.rows, value)


@pytest.mark.parametrize(
    ("down", "right", "expected"),
    [
        (1.0, 0.0, {(4, 5): 1.0}),
        (0.0, -1.0, {(3, 4): 1.0}),
        (0.25, 0.0, {(3, 5): 0.75, (4, 5): 0.25}),
        (0.5, 0.5, {(3, 5): 0.25, (3, 6): 0.25, (4, 5): 0.25, (4, 6): 0.25}),
        (8.0, 0.0, {}),
    ],
)
def test_a_shift_moves_the_ink_down_and_right(
    down: float, right: float, expected: dict[tuple[int, int], float]
) -> None:
    ink = np.full((2, 1, 8, 8), PAPER, dtype=np.float32)
    ink[:, 0, 3, 5] += 1
    moved = Augment(shift=8, degrees=0)({"image": ink}, FixedDraws(2, 0.0, down, right))
    wanted = np.zeros((8, 8))
    for pixel, amount in expected.items():
        wanted[pixel] = amount
    assert moved["image"].shape == (2, 1, 8, 8)
    assert moved["image"].dtype == np.float32
    for image in moved["image"]:
        np.testing.assert_allclose(image[0] - PAPER, wanted, atol=1e-6)


def test_a_turn_by_90_degrees_is_a_clockwise_quarter_turn(digits: Path) -> None:
    image = normalise(read_batch(digits / "validation"))["image"][:5]
    turned = Augment(shift=0, degrees=90)({"image": image}, FixedDraws(5, 90.0, 0.0, 0.0))
    wanted = np.rot90(image, k=-1, axes=(2, 3))
    np.testing.assert_allclose(turned["image"], wanted, atol=1e-5)


def test_a_row_is_augmented_alike_in_any_batch_and_anew_in_each_epoch(digits: Path) -> None:
    batch = normalise(read_batch(digits / "validation"))
    augment = Augment(shift=1, degrees=10)
    whole = augment(batch, random_for(batch["id"]))["image"]
    some = np.array([300, 4, 77])
    part = {name: column[some] for name, column in batch.items()}
    np.testing.assert_array_equal(augment(part, random_for(part["id"]))["image"], whole[some])
    other_epoch = augment(batch, random_for(batch["id"], epoch=1))["image"]
    assert not np.isclose(whole, other_epoch).all(axis=(1, 2, 3)).any()


@pytest.mark.parametrize("arguments", [{"shift": -1.0}, {"degrees": -0.1}])
def test_a_negative_amount_is_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        Augment(**arguments)


def test_the_task_gives_each_row_its_own_loss_and_accuracy(digits: Path) -> None:
    task = DigitsTask(width=4)
    model = task.build_model()
    batch = normalise(read_batch(digits / "validation"))
    tensors = {name: torch.tensor(batch[name]) for name in ("image", "label")}
    losses, metrics = task.loss(model, tensors)
    assert losses.shape == metrics["accuracy"].shape == (360,)
    alone, alone_metrics = task.loss(model, {name: t[5:6] for name, t in tensors.items()})
    torch.testing.assert_close(alone, losses[5:6])
    assert alone_metrics["accuracy"] == metrics["accuracy"][5]
    right = model(tensors["image"]).argmax(dim=1) == tensors["label"]
    assert metrics["accuracy"].tolist() == right.float().tolist()


def test_a_network_without_channels_is_refused() -> None:
    with pytest.raises(ValueError, match="width must be at least 1, got 0"):
        DigitsTask(width=0)


def test_the_own_loop_trains_the_network_and_scores_every_row(digits: Path, tmp_path: Path) -> None:
    plan = make_plan(
        tmp_path,
        rows=360,
        batch=60,
        training={
            "task": None,
            "loop": "pipelines.digits.loop:train",
            "epochs": 2,
            "report_every": 6,
        },
    )
    columns = normalise(read_batch(digits / "validation"))
    run_own_loop(
        train, plan, columns=lambda rows: {n: c[rows] for n, c in columns.items()}, width=4
    )
    found = parse_records(read_json_lines(plan.run_dir / "metrics.jsonl"))
    first, last = [r.metrics for r in found if isinstance(r, ValidationRecord)]
    assert last["loss"] < first["loss"]
    assert last["accuracy"] > 0.1
    lrs = [record.lr for record in found if isinstance(record, TrainRecord)]
    assert lrs == pytest.approx([2.5e-3, 0.0])
