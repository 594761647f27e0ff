"""Fixtures: a made tree, stores of every kind made from it, and the real samples if they are there.

Tests that read the real samples take `shared_data`, and are skipped if it is absent.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from patchpress import Store, open_store
from patchpress.converter.cli import main
from patchpress.readers.format.manifest import EXTENTS
from tests.support.helpers import Ended, made
from tests.support.sharding import sharded
from tests.support.skips import pytest_addoption as add_fail_skipped
from tests.support.skips import pytest_configure, pytest_sessionfinish, pytest_terminal_summary  # noqa: F401 -- hooks of pytest
from tests.support.synthetic import Row, make_tree

# Hypothesis tries the same examples in every run, so that a failure comes again.
settings.register_profile("suite", deadline=None, derandomize=True, database=None)
settings.load_profile("suite")

KINDS = [
    (layout, compression)
    for layout in ("stacked", "native")
    for compression in ("none", "zstd", "blosc2")
]
# How a store is read: by its extents in the mode that a store chooses, in one of the two modes, or
# without extents (the way called "lmdb"); or one of 4 shards, with extents and without them.
WAYS = [
    *(
        (layout, compression, "auto")
        for layout, compression in KINDS
        if (layout, compression) != ("stacked", "blosc2")  # all but how it is expanded: as native
    ),
    ("stacked", "none", "map"),
    ("stacked", "none", "direct"),
    ("native", "none", "map"),
    ("native", "none", "direct"),
    ("stacked", "zstd", "direct"),
    ("stacked", "none", "lmdb"),
    ("native", "none", "lmdb"),
    ("native", "zstd", "lmdb"),
    ("native", "blosc2", "map"),
    ("native", "blosc2", "direct"),
    ("native", "blosc2", "lmdb"),
    ("stacked", "none", "shards"),
    ("native", "none", "shards"),
    ("native", "blosc2", "shards"),
    ("stacked", "none", "bare shards"),
]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of this suite."""
    add_fail_skipped(parser)
    parser.addoption("--kills", type=int, default=8, help="kills during each killed conversion")


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


@pytest.fixture(scope="session")
def bare_stores(
    stores: dict[tuple[str, str], Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], Path]:
    """The same stores without extents, as older versions made them. Never write into one."""
    root = tmp_path_factory.mktemp("bare")
    without = shutil.ignore_patterns(EXTENTS)
    return {
        kind: Path(shutil.copytree(path, root / path.name, ignore=without))
        for kind, path in stores.items()
    }


@pytest.fixture(scope="session")
def sharded_stores(
    stores: dict[tuple[str, str], Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str, str], Path]:
    """Some of the same stores as 4 shards, with and without extents. Never write into one."""
    root = tmp_path_factory.mktemp("sharded")
    return {
        (layout, compression, way): sharded(
            stores[layout, compression],
            root / f"{layout} {compression} {way}",
            4,
            extents=way == "shards",
        )
        for layout, compression, way in WAYS
        if way.endswith("shards")
    }


@pytest.fixture(params=WAYS, ids="-".join)
def store(
    request: pytest.FixtureRequest,
    stores: dict[tuple[str, str], Path],
    bare_stores: dict[tuple[str, str], Path],
    sharded_stores: dict[tuple[str, str, str], Path],
) -> Store:
    """A store of each kind in turn, newly opened, and read in each way."""
    layout, compression, way = request.param
    if way.endswith("shards"):
        return open_store(sharded_stores[request.param])
    if way == "lmdb":
        return open_store(bare_stores[layout, compression])
    return open_store(stores[layout, compression], mode=way)


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
) -> Iterator[Callable[..., Ended]]:
    """The command, run in this process from its first line to its exit code."""
    # The command sets its own answer to Ctrl-C; the tests after it get theirs back.
    before = signal.getsignal(signal.SIGINT)

    def run(*words: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["patchpress", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        code: Any = end.value.code
        return Ended(0 if code is None else code, *capsys.readouterr())

    yield run
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def powerless() -> Callable[..., Ended]:
    """The command, run by a user for whom permissions hold (root may do anything)."""
    before: list[str] = []
    if os.geteuid() == 0:
        before = ["unshare", "--user"]
        if not shutil.which("unshare") or subprocess.run([*before, "true"]).returncode:
            pytest.skip("root cannot give up its powers here")

    def run(*words: object) -> Ended:
        done = subprocess.run(
            [*before, sys.executable, "-m", "patchpress", *map(str, words)],
            capture_output=True,
            text=True,
            timeout=120,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Callable[[Path, int], Path]]:
    """Set the permissions of a path until the test is over, but before its folder is removed."""
    paths: list[tuple[Path, int]] = []

    def close(path: Path, mode: int) -> Path:
        paths.append((path, path.stat().st_mode))
        path.chmod(mode)
        return path

    yield close
    for path, mode in reversed(paths):
        path.chmod(mode)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """An empty folder, where small disks can be mounted."""
    if not shutil.which("unshare"):
        pytest.skip("there is no unshare to mount a small disk with")
    (tmp_path / "disk").mkdir()
    words = ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none"]
    tried = subprocess.run([*words, str(tmp_path / "disk")], capture_output=True, timeout=60)
    if tried.returncode:
        pytest.skip("this machine does not let a test mount a small disk")
    return tmp_path / "disk"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real samples and official tables."""
    path = Path(__file__).parents[2] / "shared" / "data"
    if not path.is_dir():
        pytest.skip("the real samples are not beside the repository")
    return path
