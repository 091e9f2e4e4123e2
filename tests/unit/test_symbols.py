"""Finding and importing user code."""

import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.errors import SpecError
from orchestrator.symbols import (
    Symbol,
    check_reference,
    find_symbol,
    resolve_symbol,
    symbol_fingerprint,
)

CODE = '''\
"""User code."""
import functools
from dataclasses import dataclass, field
from elsewhere import helper as aliased

raise RuntimeError("imported")

def plain(batch, *, shift, scale=1.0): ...
def open_ended(batch, **options): ...
@functools.cache
def decorated(batch): ...

class Base:
    def __init__(self, width, depth=2): ...
class Child(Base): ...
class Empty: ...
class Outside(aliased): ...
class Loop(Loop): ...
@dataclass(frozen=True)
class Data:
    size: int
    tags: list[str] = field(default_factory=list)
    hidden: int = field(init=False, default=1)

if functools:
    conditional = 1
try:
    first, (second, *rest) = helper()
except ValueError:
    pass
'''


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    before, modules = list(sys.path), set(sys.modules)
    yield tmp_path
    sys.path[:] = before
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def write(root: Path, path: str, text: str) -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize("text", ["a:b", "a.b_1.C:d", "_a:_b"])
def test_references_of_the_right_shape_are_taken(text: str) -> None:
    assert check_reference(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "a", "a:", ":a", "a:b:c", "a:b.c", "a b:c", "../a:b", "/a:b", ".a:b", "a..b:c", "a-b:c",
     "a:b()", "class:a", "a:lambda", "a:__class__", "__main__:a", "a.__init__:b", "os:system",
     "os.path:join", "builtins:eval", "subprocess:run", "a:b\n", "a\0:b", "http://x:b"],
)  # fmt: skip
def test_references_of_another_shape_or_into_python_itself_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="wanted a reference"):
        check_reference(text)
    with pytest.raises(SpecError, match="wanted a reference"):
        find_symbol(text, Path())
    with pytest.raises(SpecError, match="wanted a reference"):
        resolve_symbol(text, Path())


@pytest.mark.parametrize(
    ("name", "kind", "parameters", "required", "takes_any"),
    [
        ("plain", "function", ("batch", "shift", "scale"), ("batch", "shift"), False),
        ("open_ended", "function", ("batch",), ("batch",), True),
        ("decorated", "function", (), (), True),
        ("Base", "class", ("width", "depth"), ("width",), False),
        ("Child", "class", ("width", "depth"), ("width",), False),
        ("Empty", "class", (), (), False),
        ("Outside", "class", (), (), True),
        ("Loop", "class", (), (), True),
        ("Data", "class", ("size", "tags"), ("size",), False),
        ("aliased", "name", (), (), True),
        ("conditional", "name", (), (), True),
        ("second", "name", (), (), True),
        ("rest", "name", (), (), True),
    ],
)
def test_a_symbol_is_found_with_its_arguments_and_without_importing(
    root: Path, name: str, kind: str, parameters: tuple[str, ...], required: tuple[str, ...],
    takes_any: bool,
) -> None:  # fmt: skip
    file = write(root, "package/sub/code.py", CODE)
    found = find_symbol(f"package.sub.code:{name}", root)
    assert (found.kind, found.parameters, found.required, found.takes_any) == (
        kind,
        parameters,
        required,
        takes_any,
    )
    assert found.file == file
    assert "package" not in sys.modules


def test_a_symbol_is_found_with_the_line_that_defines_it_last(root: Path) -> None:
    write(root, "mine.py", "def f(a): ...\n\n\ndef f(b): ...\n")
    assert find_symbol("mine:f", root) == Symbol(
        file=root / "mine.py",
        line=4,
        kind="function",
        parameters=("b",),
        required=("b",),
        takes_any=False,
    )


def test_names_that_only_running_the_module_would_tell_are_given_the_benefit(root: Path) -> None:
    write(root, "star.py", "from elsewhere import *\n")
    write(root, "lazy.py", "def __getattr__(name): ...\n")
    assert find_symbol("star:anything", root).kind == "name"
    assert find_symbol("lazy:anything", root).kind == "name"


def test_a_symbol_in_a_package_file_is_found(root: Path) -> None:
    file = write(root, "package/__init__.py", "def f(batch): ...\n")
    assert find_symbol("package:f", root).file == file


def test_the_job_folder_comes_before_installed_packages(root: Path) -> None:
    file = write(root, "yaml.py", "def f(batch): ...\n")
    assert find_symbol("yaml:f", root).file == file


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("package.code:shfit", 'shfit: .*code.py has no "shfit"; did you mean "shift"'),
        ("package.coed:shift", 'no module "package.coed": looked for coed.py and .* in .*package; '
                               'did you mean "code"'),
        ("pakcage.code:shift", 'no module "pakcage": .* and among the installed .* "package"'),
        ("package.code.deeper:shift", "code.py is a module, not a package"),
        ("package:shift", "package is no Python source file"),
        ("package.broken:shift", "broken.py:2: not valid Python"),
        ("package.binary:shift", "binary.py: not valid Python|not valid Python"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named_with_the_nearest(
    root: Path, reference: str, message: str
) -> None:
    write(root, "package/code.py", "def shift(batch): ...\n")
    write(root, "package/broken.py", "def shift(batch): ...\ndef (")
    write(root, "package/binary.py", "\0\0\0")
    with pytest.raises(SpecError, match=message):
        find_symbol(reference, root)


def test_resolving_imports_from_the_job_folder(root: Path) -> None:
    write(root, "user_code_a/code.py", "def f(batch):\n    return batch\n")
    function = resolve_symbol("user_code_a.code:f", root)
    assert callable(function)
    assert function(3) == 3
    assert sys.path[0] == str(root)


def test_folders_of_the_process_are_no_installed_packages(
    root: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write(elsewhere, "user_code_p.py", "raise RuntimeError('imported')\nf = 1\n")
    monkeypatch.syspath_prepend(elsewhere)
    monkeypatch.chdir(elsewhere)
    for look in (find_symbol, resolve_symbol):
        with pytest.raises(SpecError, match='no module "user_code_p"'):
            look("user_code_p:f", root)


@pytest.mark.parametrize(
    ("reference", "link", "target"),
    [
        ("user_code_l:f", "user_code_l.py", "user_code_l.py"),
        ("package_l.code:f", "package_l", "package_l"),
        ("namespace_l.code:f", "namespace_l/code.py", "user_code_l.py"),
        ("half_l.code:f", "half_l/__init__.py", "user_code_l.py"),
    ],
)
def test_a_link_out_of_the_folder_is_not_followed(
    root: Path, tmp_path_factory: pytest.TempPathFactory, reference: str, link: str, target: str
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for name in ("user_code_l.py", "package_l/__init__.py", "package_l/code.py"):
        write(elsewhere, name, "raise RuntimeError('imported')\nf = 1\n")
    write(root, "half_l/code.py", "f = 1\n")
    (root / link).parent.mkdir(exist_ok=True)
    (root / link).symlink_to(elsewhere / target)
    for look in (find_symbol, resolve_symbol):
        with pytest.raises(SpecError, match=r"outside of runtime\.working_dir"):
            look(reference, root)


def test_a_module_that_would_be_imported_instead_never_runs(
    root: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed, shadow = (tmp_path_factory.mktemp(name) for name in ("installed", "shadow"))
    write(installed, "user_code_s.py", "f = 1\n")
    write(shadow, "user_code_s.py", "raise RuntimeError('imported')\nf = 2\n")
    monkeypatch.setattr("site.getsitepackages", lambda: [str(installed)])
    monkeypatch.syspath_prepend(installed)
    monkeypatch.syspath_prepend(shadow)
    assert find_symbol("user_code_s:f", root).file == installed / "user_code_s.py"
    with pytest.raises(SpecError, match="comes first where Python looks"):
        resolve_symbol("user_code_s:f", root)


def test_a_zip_file_is_no_folder_of_code(root: Path) -> None:
    with zipfile.ZipFile(root / "code.zip", "w") as archive:
        archive.writestr("user_code_z.py", "raise RuntimeError('imported')\nf = 1\n")
    for look in (find_symbol, resolve_symbol):
        with pytest.raises(SpecError):
            look("user_code_z:f", root / "code.zip")
    assert "user_code_z" not in sys.modules


def test_an_import_error_names_the_line_of_the_users_code(root: Path) -> None:
    write(root, "user_code_b/__init__.py", "")
    file = write(root, "user_code_b/code.py", "import user_code_b.deeper\n")
    deeper = write(root, "user_code_b/deeper.py", "import json\n\njson.loads('{')\n")
    with pytest.raises(SpecError, match="importing it failed: JSONDecodeError: ") as caught:
        resolve_symbol("user_code_b.code:f", root)
    _, outer, inner = str(caught.value).splitlines()
    assert outer == f"  at {file}:1 in <module>: import user_code_b.deeper"
    assert inner == f"  at {deeper}:3 in <module>: json.loads('{{')"
    file.write_text("def (", encoding="utf-8")
    with pytest.raises(SpecError, match=r"SyntaxError: .*\n  at .*code\.py:1$"):
        resolve_symbol("user_code_b.code:f", root)


def test_a_module_that_exits_on_import_is_an_error_and_no_exit(root: Path) -> None:
    write(root, "user_code_c.py", "raise SystemExit\n")
    with pytest.raises(SpecError, match=r"SystemExit\n  at .*user_code_c\.py:1 in <module>"):
        resolve_symbol("user_code_c:f", root)


def test_an_attribute_that_is_missing_after_import_is_named(root: Path) -> None:
    write(root, "user_code_d.py", "from math import *\nshift = 1\n")
    with pytest.raises(SpecError, match='has no "shfit"; did you mean "shift"'):
        resolve_symbol("user_code_d:shfit", root)


def test_a_module_name_taken_by_another_file_is_an_error(root: Path) -> None:
    write(root, "one/user_code_e.py", "f = 1\n")
    write(root, "two/user_code_e.py", "f = 2\n")
    assert resolve_symbol("user_code_e:f", root / "one") == 1
    with pytest.raises(SpecError, match=r"one/user_code_e.py is already imported") as caught:
        resolve_symbol("user_code_e:f", root / "two")
    assert caught.value.hint is not None


def test_the_fingerprint_changes_with_code_and_not_with_comments(root: Path) -> None:
    def fingerprint(text: str) -> str:
        write(root, "mine.py", text)
        return symbol_fingerprint("mine:f", root)

    first = fingerprint('"""One."""\n\ndef f(batch):\n    """Two."""\n    return batch + 1\n')
    assert len(first) == 64
    assert fingerprint("# three\ndef f(\n    batch,\n):\n    return (batch + 1)\n") == first
    assert fingerprint("def f(batch):\n    return batch + 2\n") != first
