"""The pages: their links lead somewhere, their cheap commands print what they show."""

import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.support.docs import ROOT, carry_out

PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "pipelines").rglob("*.md")]
)
PICTURES = sorted((ROOT / "docs" / "pictures").glob("*.svg"))
LINK = re.compile(r"\]\((?!https?://)(?P<path>[^)#]*)(?:#(?P<heading>[^)]*))?\)")
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def test_every_link_leads_to_a_file_and_a_heading() -> None:
    lost = []
    for page in PAGES:
        for link in LINK.finditer(CODE.sub("", page.read_text(encoding="utf-8"))):
            target = page.parent / link["path"] if link["path"] else page
            heading = link["heading"]
            if not target.exists() or (heading and heading not in headings_of(target)):
                lost.append(f"{page.relative_to(ROOT)}: {link[0]}")
    assert not lost


def headings_of(page: Path) -> set[str]:
    """The anchors that a page's headings get."""
    lines = CODE.sub("", page.read_text(encoding="utf-8")).splitlines()
    titles = [line.lstrip("#").strip().lower() for line in lines if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.stem)
def test_a_picture_is_whole_and_says_what_it_shows(picture: Path) -> None:
    root = ElementTree.parse(picture).getroot()
    names = [child.tag.rpartition("}")[2] for child in root]
    assert names[:2] == ["title", "desc"]
    assert root.get("viewBox") == f"0 0 {root.get('width')} {root.get('height')}"


@pytest.mark.parametrize(("page", "commands"), [("README.md", 2), ("docs/mixing.md", 1)])
def test_a_page_shows_what_its_cheap_commands_print(
    tmp_path: Path, page: str, commands: int
) -> None:
    pytest.importorskip("sklearn")
    from pipelines.digits.prepare import prepare

    for folder in ("jobs", "pipelines"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    prepare(tmp_path / "data" / "digits")
    assert carry_out(ROOT / page, tmp_path, only=("validate", "plan", "schema")) >= commands
