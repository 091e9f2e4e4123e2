"""What of a working directory travels with a job, and what the package holds."""

import os
import zipfile
from pathlib import Path

import pytest

from orchestrator.errors import SpecError
from orchestrator.submit.package import SPEC_FILE, contents_of, write_package


def put(root: Path, *names: str, content: str = "x") -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def names_of(root: Path, **options: object) -> list[str]:
    return [file.name for file in contents_of(root, **options).files]  # type: ignore[arg-type]


def test_code_travels_and_data_runs_and_environments_do_not(tmp_path: Path) -> None:
    put(tmp_path, "task.py", "lib/data/table.py", "lib/a.pyc", "lib/__pycache__/a.py")
    put(tmp_path, "data/train/a.parquet", "runs/one/job.yaml", ".git/config", ".venv/bin/python")
    put(tmp_path, ".env", "venv/pyvenv.cfg", "lib/runs/code.py")
    assert names_of(tmp_path) == ["lib/data/table.py", "lib/runs/code.py", "task.py"]


def test_lists_are_those_of_git_and_the_last_word_is_ours(tmp_path: Path) -> None:
    put(tmp_path, "a.log", "keep.log", "big/x.bin", "big/y.txt", "sub/a.txt", "sub/b.txt", "a.txt")
    (tmp_path / ".gitignore").write_text("# logs\n*.log\n\nbig/\n/a.txt\n")
    (tmp_path / ".orchestratorignore").write_text("!keep.log\n")
    (tmp_path / "sub" / ".gitignore").write_text("/b.txt\n")
    lists = [".gitignore", ".orchestratorignore", "sub/.gitignore"]
    assert names_of(tmp_path) == sorted(["keep.log", "sub/a.txt", *lists])
    assert "sub/a.txt" not in names_of(tmp_path, excludes=["sub/"])


def test_what_is_left_out_by_default_can_be_taken_back(tmp_path: Path) -> None:
    put(tmp_path, "data/big/a.parquet", "data/few/labels.json", "task.py")
    lines = ["!/data/", "/data/*", "!/data/few/"]
    (tmp_path / ".orchestratorignore").write_text("\n".join(lines))
    assert names_of(tmp_path) == [".orchestratorignore", "data/few/labels.json", "task.py"]


def test_links_that_lead_out_or_in_circles_stay_behind(tmp_path: Path) -> None:
    root = tmp_path / "code"
    put(tmp_path, "secret/key")
    put(root, "lib/a.py")
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "key").symlink_to(tmp_path / "secret" / "key")
    (root / "lib" / "up").symlink_to(root)
    (root / "same").symlink_to(root / "lib" / "a.py")
    (root / "gone").symlink_to(root / "nowhere")
    os.mkfifo(root / "pipe")
    assert names_of(root) == ["lib/a.py", "same"]


def test_a_package_that_is_too_large_names_the_biggest_files(tmp_path: Path) -> None:
    for number in range(1, 8):
        put(tmp_path, f"f{number}.bin", content="x" * 1024 * number)
    with pytest.raises(SpecError, match="28KiB in 7 files, and 20KiB are allowed") as caught:
        contents_of(tmp_path, limit=20 * 1024)
    lines = str(caught.value).splitlines()[1:]
    assert [line.split()[-1] for line in lines] == [f"f{number}.bin" for number in (7, 6, 5, 4, 3)]
    assert ".orchestratorignore" in str(caught.value.hint)


def test_the_same_code_makes_the_same_bytes_whenever_it_was_written(tmp_path: Path) -> None:
    root = tmp_path / "code"
    put(root, "b.py", "a.sh", SPEC_FILE)
    (root / "a.sh").chmod(0o755)
    first = write_package(contents_of(root), "name: one\n", tmp_path / "1.zip").read_bytes()
    os.utime(root / "b.py", (1e9, 1e9))
    assert write_package(contents_of(root), "name: one\n", tmp_path / "2.zip").read_bytes() == first
    with zipfile.ZipFile(tmp_path / "1.zip") as package:
        assert package.namelist() == ["a.sh", "b.py", SPEC_FILE]
        assert package.read(SPEC_FILE) == b"name: one\n"
        modes = {item.filename: (item.external_attr >> 16) & 0o777 for item in package.infolist()}
    assert modes == {"a.sh": 0o755, "b.py": 0o644, SPEC_FILE: 0o644}


def test_a_working_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"runtime\.working_dir: .* is no directory"):
        contents_of(tmp_path / "gone")
