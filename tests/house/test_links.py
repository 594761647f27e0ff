"""Links between documents lead to files and headings that are there, on the site and without it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "readers" / "FORMAT.md",
    ROOT / "benchmarks" / "README.md",
]
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)#\s]*)#([^)\s]+)\)")


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """What the headings of a document are called in addresses."""
    headings = re.findall(r"^#+ (.*)$", without_code(path.read_text()), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.strip().lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_link_to_a_heading_leads_to_one(path: Path) -> None:
    links = LINK.findall(without_code(path.read_text()))
    targets = [(path.parent / to if to else path, name) for to, name in links]
    missing = [f"{to.name}#{name}" for to, name in targets if name not in anchors(to)]
    assert missing == []


def test_there_are_such_links() -> None:
    assert sum(len(LINK.findall(path.read_text())) for path in DOCUMENTS) > 10
