"""A description that nobody tried with the published files says so wherever it is used."""

from collections.abc import Callable
from pathlib import Path

import pytest

from patchpress.converter.descriptions.parse import built_in_descriptions, load_description
from tests.support.helpers import Ended
from tests.support.published_forms import TREES

Command = Callable[..., Ended]
MADE_OF = "made from its paper; not tried with the published files"


@pytest.fixture
def eurosat(tmp_path: Path) -> Path:
    """EuroSAT's own description, with a word that nobody tried it."""
    text = built_in_descriptions()["eurosat"].read_text()
    untried = text.replace('version = "2"', f'version = "2"\nuntried = "{MADE_OF}"')
    assert untried != text
    (tmp_path / "untried.toml").write_text(untried)
    (tmp_path / "tried.toml").write_text(text)
    return TREES["eurosat"].write(tmp_path / "source")


def test_dry_run_and_report_say_it_in_one_line(eurosat: Path, patchpress: Command) -> None:
    folder = eurosat.parent
    words = (eurosat, folder / "store", "--workers", 0)
    for more in (("--dry-run",), ()):
        ended = patchpress("convert", folder / "untried.toml", *words, *more)
        assert ended.code == 0
        assert [line for line in ended.out.splitlines() if MADE_OF in line] == [
            f"  description        {MADE_OF}"
        ]


def test_the_store_is_the_same(eurosat: Path, patchpress: Command) -> None:
    folder = eurosat.parent
    for name in ("tried", "untried"):
        words = ("convert", folder / f"{name}.toml", eurosat, folder / name, "--workers", 0)
        assert patchpress(*words).code == 0
    names = sorted(path.name for path in (folder / "tried").iterdir())
    assert "manifest.json" in names
    for name in set(names) - {"lock.mdb"}:
        assert (folder / "tried" / name).read_bytes() == (folder / "untried" / name).read_bytes()


def test_it_decides_nothing_so_that_another_run_goes_on(eurosat: Path, patchpress: Command) -> None:
    """Whoever has tried a description removes the word; no conversion begins anew for that."""
    folder, file = eurosat.parent, eurosat.parent / "untried.toml"
    words = ("convert", file, eurosat, folder / "store", "--workers", 0, "--shards", 2)
    assert patchpress(*words, "--shard", 0).code == 0
    file.write_text((folder / "tried.toml").read_text())
    ended = patchpress(*words, "--shard", 1)
    assert (ended.code, ended.err) == (0, "")


def test_datasets_says_it_of_those_that_nobody_tried(patchpress: Command) -> None:
    untried = {
        name: load_description(path).untried for name, path in built_in_descriptions().items()
    }
    blocks = patchpress("datasets").out.split("\n\n")
    assert len(blocks) == len(untried)
    for block, (name, said) in zip(blocks, untried.items(), strict=True):
        head, second = block.splitlines()[0], block.splitlines()[2]
        assert head.startswith(f"{name}: ")
        assert (second == f"  {said}") == bool(said)
    assert not untried["bigearthnet-v2"]
