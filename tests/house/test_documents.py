"""What the documents tell a user to type runs, and gives what they say."""

import inspect
import os
import re
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from patchpress import PatchLoader
from patchpress.readers.choice import Choice
from tests.support.helpers import Ended, command, python
from tests.support.synthetic import make_tree

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
TRAINING = ROOT / "docs" / "train.md"
PARTS = ROOT / "docs" / "parts.md"
PONDS = ROOT / "docs" / "your-own-dataset.md"
DOCUMENTS = [README, *sorted((ROOT / "docs").glob("*.md"))]
DOCUMENTS += [ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "readers/FORMAT.md")]
# Their Python runs, piece by piece, beside a store `ben.store` with statistics.
WITH_PYTHON = [
    README,
    *(ROOT / "docs" / f"{name}.md" for name in ("train", "recipes", "read", "remote")),
]
NEEDS_TORCH = re.compile(r"\b(torch|PatchLoader|PatchDataset|to_device)\b")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]+")


class Block(NamedTuple):
    """A piece of a document between two lines of backticks."""

    language: str
    text: str
    line: int


def blocks(path: Path, *languages: str) -> list[Block]:
    """The blocks of a document in some languages; "" is none."""
    text = path.read_text()
    found = [
        Block(block[1], block[2], text.count("\n", 0, block.start()) + 1)
        for block in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]
    return [block for block in found if block.language in languages]


def commands(block: Block) -> list[list[str]]:
    """The commands of a block, without comments; a line that ends in a backslash goes on."""
    lines = block.text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := line.partition("#")[0].split())]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder: `ben.store` with statistics, made by the README's own first commands."""
    folder = tmp_path_factory.mktemp("user")
    make_tree(folder / "raw", n=180, flagged=4)
    plain = blocks(README, "")
    converting, *_ = (block for block in plain if "patchpress convert" in block.text)
    typed = commands(converting)
    for words in typed:
        words = [word.replace("/data/BigEarthNet-v2", "raw") for word in words]
        ended = command(*words[1:], cwd=folder)
        assert ended.code == 0, ended.err
    assert len(typed) == 3
    return folder


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(block, id=f"{path.name}, line {block.line}")
        for path in WITH_PYTHON
        for block in blocks(path, "python")
    ],
)
def test_the_python_of_a_page_runs(folder: Path, block: Block) -> None:
    text = block.text
    if "PatchDataModule" in text:
        pytest.importorskip("lightning", reason="Lightning is not installed")
    if NEEDS_TORCH.search(text):
        torch = pytest.importorskip("torch", reason="torch is not installed")
        if not torch.cuda.is_available():
            text = text.replace('"cuda"', '"cpu"')
    ended = python("-c", text, cwd=folder)
    assert ended.code == 0, ended.err


def test_what_one_writes_to_train_is_code_that_runs(folder: Path) -> None:
    """The second column of the table of what one wants; `…` stands for what is left out."""
    pytest.importorskip("torch", reason="torch is not installed")
    table = TRAINING.read_text().partition("| you want |")[2].partition("\n\n")[0]
    cells = [line.split("|")[2] for line in table.splitlines()[2:]]
    lines = [code for cell in cells for code in re.findall(r"`([^`]+)`", cell) if "(" in code]
    assert len(lines) >= len(cells) == 7
    head = (
        "from patchpress import *\n"
        "store = open_store('ben.store')\n"
        "statistics = store.statistics('s2', 'train')\n"
        "augment = list\n"
    )
    try:
        import lightning  # noqa: F401
    except ModuleNotFoundError:
        lines = [line for line in lines if "DataModule" not in line]
    code = "\n".join(lines).replace("statistics=…", "statistics=statistics").replace(", …", "")
    ended = python("-c", head + code, cwd=folder)
    assert ended.code == 0, ended.err


def test_the_page_of_parts_makes_a_store_of_another_program_s_lmdb(
    folder: Path, tmp_path: Path
) -> None:
    (block,) = (block for block in blocks(PARTS, "") if "patchpress index rico.lmdb" in block.text)
    (words,) = commands(block)
    (tmp_path / "rico.lmdb").mkdir()
    made = command(
        "convert", "bigearthnet-v2", folder / "raw", tmp_path / "x", "--layout", "native"
    )
    assert made.code == 0, made.err
    shutil.copyfile(tmp_path / "x" / "data.mdb", tmp_path / "rico.lmdb" / "data.mdb")
    for table in (folder / "raw").glob("*.parquet"):
        shutil.copyfile(table, tmp_path / table.name)
    ended = command(*words[1:], cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert {"manifest.json", "metadata.parquet"} <= set(os.listdir(tmp_path / "rico.lmdb"))


@cache
def help_of(name: str) -> str:
    """The help of a command, not cut to a terminal's width."""
    ended = command(*([name] if name else []), "--help", env={**os.environ, "COLUMNS": "400"})
    assert ended.code == 0, f"`patchpress {name}` is no command"
    return ended.out


def in_backticks(path: Path) -> Iterator[str]:
    """What stands in backticks in the sentences of a document."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    yield from re.findall(r"`([^`]+)`", text)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_and_options_in_sentences_are_there(path: Path) -> None:
    listed = help_of("").partition("Commands")[2]
    known = set(re.findall(r"^\W+([a-z][a-z-]+)  ", listed, re.MULTILINE))
    assert {"convert", "verify", "inspect"} <= known
    everywhere = {option for name in {"", *known} for option in OPTION.findall(help_of(name))}
    for text in in_backticks(path):
        first, *rest = text.split() or [""]
        options = set(OPTION.findall(text))
        if first == "patchpress":
            name = rest[0] if rest and not rest[0].startswith("-") else ""
            assert not options - set(OPTION.findall(help_of(name))), text
        elif first.startswith("--") and path != ROOT / "CONTRIBUTING.md":
            assert not options - everywhere, text


PATH = re.compile(
    r"(?:benchmarks|converter|docs|examples|patchpress|readers|tests)/[\w./-]*\w\.\w+"
)


@pytest.mark.parametrize("path", [*DOCUMENTS, ROOT / "benchmarks" / "README.md"], ids=str)
def test_files_that_a_document_names_are_there(path: Path) -> None:
    text = path.read_text()
    named = [ROOT / name for name in PATH.findall(text)]
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)
    named += [path.parent / link for link in links if not link.startswith("https://")]
    assert [file for file in named if not file.exists()] == []


def test_what_the_page_of_training_says_of_a_choice_are_arguments() -> None:
    """The table of what loader, data set and data module take alike."""
    table = TRAINING.read_text().partition("All take the same choice")[2].partition("```")[0]
    first = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    names = {name for cell in first for name in re.findall(r"`(\w+)[=`]", cell)}
    assert {"split", "modalities", "bands", "where", "target"} <= names
    known = set(inspect.signature(PatchLoader).parameters) | set(Choice.__annotations__)
    assert names - {"None"} <= known


class Ponds:
    """The page about a data set of one's own, followed step by step in a new folder."""

    def __init__(self, folder: Path, run: Callable[..., Ended]) -> None:
        self.folder, self.run = folder, run
        self.pythons = [block.text for block in blocks(PONDS, "python")]
        self.tomls = [block.text for block in blocks(PONDS, "toml")]
        self.shown = [block.text for block in blocks(PONDS, "")]
        self.description = folder / "ponds.toml"
        ended = python("-c", self.pythons[0], cwd=folder)
        assert ended.code == 0, ended.err

    def write(self, step: int) -> None:
        """Write the description as it is after a step of the page, 1 to 3, or with its tables."""
        whole, below, end, radar, tables = self.tomls
        if step > 1:
            # "Put two lines below `key`, and the rest at the end of the file."
            whole = re.sub("^key = .*\n", lambda key: key[0] + below, whole, flags=re.MULTILINE)
            whole += "\n" + end
        if step > 2:
            whole += "\n" + radar
        if step > 3:
            whole += "\n" + tables
            notes = next(text for text in self.shown if text.startswith("file;"))
            (self.folder / "ponds" / "notes.csv").write_text(notes)
            (depths,) = (block.text for block in blocks(PONDS, "json"))
            (self.folder / "ponds" / "depths.json").write_text(depths)
        self.description.write_text(whole)

    def sessions(self) -> Iterator[tuple[list[str], str]]:
        """Each command that the page shows after a `$`, and what it shows as its output."""
        for text in self.shown:
            for piece in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                line, _, output = piece.partition("\n")
                yield line.split()[1:], output

    def errors(self) -> list[str]:
        """The sentences that the page shows as errors."""
        lines = "".join(self.shown).splitlines()
        return [line for line in lines if line.startswith("patchpress: ")]


@pytest.fixture
def ponds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patchpress: Callable[..., Ended]
) -> Ponds:
    monkeypatch.chdir(tmp_path)
    return Ponds(tmp_path, patchpress)


def pattern_of(shown: str) -> str:
    """What an output may be: a line with `…` stands for any lines, seconds differ."""
    lines = ["(.*\n)*" if "…" in line else f"{re.escape(line)}\n" for line in shown.splitlines()]
    return re.sub(r"in\\ [\d\\.]+\\ s", r"in\\ [\\d.]+\\ s", "".join(lines))


def test_the_page_about_a_data_set_of_one_s_own_shows_what_comes(ponds: Ponds) -> None:
    seen: list[str] = []
    for words, output in ponds.sessions():
        if words[0] == "convert":
            ponds.write(step=1 + seen.count("convert"))
        ended = ponds.run(*words)
        assert ended.code == 0, ended.err
        assert re.fullmatch(pattern_of(output), ended.out), ended.out
        seen.append(words[0])
    steps = ["describe", "convert", "inspect", "convert", "inspect", "convert", "verify"]
    assert seen == [*steps, "convert"]
    code = re.sub(r"^(store\..*?)(  #.*)?$", r"print(\1)", ponds.pythons[1], flags=re.MULTILINE)
    ended = python("-c", code, cwd=ponds.folder)
    assert ended.code == 0, ended.err
    shown = re.findall(r"  # (.*)", ponds.pythons[1])
    assert ended.out.splitlines()[: len(shown)] == shown


# What a user may get wrong, in the order of the page's sentences: words of the description, and the
# wrong ones in their place.
IN_DESCRIPTION = [
    ("rgb = [", "rbg = ["),
    ('key = "{patch_id}"\n', ""),
    ('version = "1"', "version = 1"),
    ("site = '[a-z]+'\n", ""),
    ("shape = [16, 16]", "shape = [20, 20]"),
    ('"Pond", "Reed"]', '"Pond", "Pond"]'),
]
UNLIKE_FOLDER = [
    (r"_\d+'", r"_\d\d\d'"),
    ("shape = [16, 16]", "shape = [8, 8]"),
    ('"Pond", "Reed"]', '"Pnd", "Reed"]'),
]


def refused(ponds: Ponds) -> str:
    """What a conversion of the ponds writes to stderr: one sentence."""
    words = ("convert", "ponds.toml", "ponds", "ponds.store", "--overwrite")
    return ponds.run(*words).err.rstrip("\n")


def changed(ponds: Ponds, mistakes: list[tuple[str, str]]) -> list[str]:
    """The sentences about some mistakes in the description, each made alone."""
    ponds.write(step=3)
    right = ponds.description.read_text()
    found = []
    for old, new in mistakes:
        assert old in right
        ponds.description.write_text(right.replace(old, new, 1))
        found.append(refused(ponds))
    ponds.description.write_text(right)
    return found


def test_mistakes_in_a_description_are_told_as_the_page_says(ponds: Ponds) -> None:
    assert changed(ponds, IN_DESCRIPTION) == ponds.errors()[: len(IN_DESCRIPTION)]


@pytest.mark.slow
def test_folders_unlike_their_description_are_told_as_the_page_says(ponds: Ponds) -> None:
    nothing, sizes, label = changed(ponds, UNLIKE_FOLDER)
    optical, lists = ponds.folder / "ponds" / "optical", ponds.folder / "ponds"
    (optical / "elm" / "elm_03").rename(optical / "oak" / "elm_03")
    misplaced = refused(ponds)
    (optical / "oak" / "elm_03").rename(optical / "elm" / "elm_03")
    train = (lists / "train.txt").read_text()
    (lists / "train.txt").write_text(train + "oak_01\n")
    twice = refused(ponds)
    (lists / "train.txt").write_text(train)
    (optical / "elm" / "elm_01" / "elm_01_B08.tif").unlink()
    missing = refused(ponds)
    found = [nothing, sizes, missing, label, misplaced, twice]
    assert found == ponds.errors()[len(IN_DESCRIPTION) :]
    words = ("convert", "ponds.toml", "ponds", "ponds.store", "--overwrite", "--on-error", "skip")
    ended = ponds.run(*words)
    assert ended.code == 1
    assert re.fullmatch(pattern_of(ponds.shown[-1]), ended.out), ended.out
