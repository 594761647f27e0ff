"""Fixtures: a made tree, stores of every kind made from it, and the real samples if they are there.

Tests that read the real samples take `shared_data`, and skip where it is absent.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import Ended, made
from hypothesis import settings
from synthetic import Row, make_tree

from converter.cli import main
from readers import Store, open_store

# The same examples in every run: a run that fails can be run again.
settings.register_profile("suite", deadline=None, derandomize=True, database=None)
settings.load_profile("suite")

KINDS = [
    (layout, compression) for layout in ("stacked", "native") for compression in ("none", "zstd")
]


@pytest.fixture(scope="session")
def made_tree(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row]]:
    root = tmp_path_factory.mktemp("source")
    return root, make_tree(root, n=12, flagged=3)


@pytest.fixture(scope="session")
def tree(made_tree: tuple[Path, list[Row]]) -> Path:
    """A BigEarthNet v2 tree of 12 patches and 3 flagged ones. Never write into it."""
    return made_tree[0]


@pytest.fixture(scope="session")
def rows(made_tree: tuple[Path, list[Row]]) -> list[Row]:
    """The rows of both tables of `tree`, sorted by patch."""
    return sorted(made_tree[1], key=lambda row: row["patch_id"])


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A tree of 4 patches and 1 flagged one, to be damaged."""
    make_tree(tmp_path / "raw", n=4, flagged=1)
    return tmp_path / "raw"


@pytest.fixture(scope="session")
def stores(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """(layout, compression) -> a store of `tree`. Never write into one."""
    root = tmp_path_factory.mktemp("stores")
    paths = {kind: root / "-".join(kind) for kind in KINDS}
    for (layout, compression), path in paths.items():
        made(tree, path, layout=layout, compression=compression)
    return paths


@pytest.fixture(params=KINDS, ids="-".join)
def store(request: pytest.FixtureRequest, stores: dict[tuple[str, str], Path]) -> Store:
    """A store of each kind in turn, newly opened."""
    return open_store(stores[request.param])


@pytest.fixture
def stacked(stores: dict[tuple[str, str], Path]) -> Path:
    """The stacked store without compression. Never write into it."""
    return stores["stacked", "none"]


@pytest.fixture
def native(stores: dict[tuple[str, str], Path]) -> Path:
    """The native store without compression. Never write into it."""
    return stores["native", "none"]


@pytest.fixture
def patchpress(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Ended]:
    """The command, run in this process from its first line to its exit code."""

    def run(*words: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["patchpress", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        code: Any = end.value.code
        return Ended(0 if code is None else code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real samples and official tables."""
    path = Path(__file__).parents[2] / "shared" / "data"
    if not path.is_dir():
        pytest.skip("the real samples are not beside the repository")
    return path
