"""The source distribution and the wheel, built for real: what is in them, and whether they work."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.support.helpers import DATASET, python
from tests.support.synthetic import make_tree

pytestmark = pytest.mark.slow

pytest.importorskip("setuptools", reason="setuptools is not installed: pip install '.[dev]'")

ROOT = Path(__file__).parents[2]
# What lies in a checkout and is not the project's: made by tools, or kept by git.
MADE = shutil.ignore_patterns(
    ".*_cache", ".git", ".hypothesis", ".venv", "*.egg-info", "__pycache__", "bench", "build",
    "demo", "dist",
)  # fmt: skip
DATA = (".py", ".toml", ".npz", ".html", ".css", ".js")  # what the packages have
LINKS = {"converter": "../converter", "readers": "../readers"}


def built(source: Path, kind: str, out: Path) -> Path:
    """Build a "sdist" or a "wheel" of a source tree, as pip does; no word of it is a warning."""
    out.mkdir()
    code = f"from setuptools import build_meta; build_meta.build_{kind}({str(out)!r})"
    # Nothing of this process's settings, and none of its packages but setuptools.
    environment = {"PATH": os.environ["PATH"]}
    ended = python("-W", "always", "-c", code, cwd=source, env=environment)
    assert ended.code == 0, ended.err
    warnings = re.findall(r".*(?:warn|deprecat|no .*found).*", ended.out + ended.err, re.I)
    assert not warnings
    (path,) = out.iterdir()
    return path


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def files(folder: str, *endings: str) -> set[str]:
    """Files of the checkout under a folder, by their paths from the root."""
    paths = (path for path in (ROOT / folder).rglob("*") if path.suffix in endings)
    return {str(path.relative_to(ROOT)) for path in paths}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this checkout, with its links."""
    target = tmp_path_factory.mktemp("checkout") / "patchpress"
    return Path(shutil.copytree(ROOT, target, symlinks=True, ignore=MADE))


@pytest.fixture(scope="module")
def unpacked(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, unpacked."""
    out = tmp_path_factory.mktemp("sdist")
    with tarfile.open(built(checkout, "sdist", out / "packed")) as archive:
        assert all(member.isfile() or member.isdir() for member in archive), "links in the sdist"
        archive.extractall(out, filter="data")
    (folder,) = (path for path in out.iterdir() if path.name != "packed")
    return folder


@pytest.fixture(scope="module")
def wheel(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution."""
    return built(unpacked, "wheel", tmp_path_factory.mktemp("wheel") / "built")


@pytest.mark.parametrize("name", LINKS)
def test_a_link_leads_to_the_folder_of_its_name(name: str) -> None:
    link = ROOT / "patchpress" / name
    if not link.is_symlink():
        pytest.skip("this copy of the repository was made without links")
    assert os.readlink(link) == LINKS[name]


def test_every_room_is_named_for_the_build() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    rooms = {
        ".".join(("patchpress", *path.parent.relative_to(ROOT).parts))
        for top in LINKS
        for path in (ROOT / top).rglob("__init__.py")
    }
    assert len(rooms) > 10
    assert {"patchpress", *rooms} == set(project["packages"]), (
        "packages in pyproject.toml are not the folders with an __init__.py: add or remove them"
    )


def test_the_source_distribution_has_what_its_tests_and_readers_need(unpacked: Path) -> None:
    found = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    wanted = {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile"}
    wanted |= {"pyproject.toml", "readers/FORMAT.md", "patchpress/py.typed"}
    wanted |= files("docs", ".md", ".png") | files("benchmarks", ".py", ".md", ".txt")
    wanted |= files("converter", *DATA) | files("readers", ".py")
    wanted |= files("tests", ".py") | files("examples", ".py")
    assert len(wanted) > 250
    missing = wanted - found
    assert not missing, "MANIFEST.in leaves them out"


def test_the_wheel_has_real_files_and_all_data_and_no_tests(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        modes = {info.filename: info.external_attr >> 16 for info in archive.infolist()}
    kinds = {mode & 0o170000 for mode in modes.values()}
    assert kinds <= {0, 0o100000}, "the wheel has something that is not a plain file"
    wanted = {"patchpress/__init__.py", "patchpress/__main__.py", "patchpress/py.typed"}
    wanted |= {f"patchpress/{name}" for name in files("converter", *DATA)}
    wanted |= {f"patchpress/{name}" for name in files("readers", ".py", ".md")}
    assert len(wanted) > 120
    assert {name for name in modes if ".dist-info/" not in name} == wanted


def test_a_copy_without_links_builds_the_same_wheel(
    checkout: Path, wheel: Path, tmp_path: Path
) -> None:
    """As a zip download gives it, or git on a file system without links: small text files."""
    source = Path(shutil.copytree(checkout, tmp_path / "source", symlinks=True, ignore=MADE))
    for name, target in LINKS.items():
        (source / "patchpress" / name).unlink(missing_ok=True)
        (source / "patchpress" / name).write_text(target)
    assert names_in(built(source, "wheel", tmp_path / "built")) == names_in(wheel)


@pytest.mark.parametrize("text", [None, "../"], ids=["without", "as text files"])
def test_a_copy_without_links_runs_where_it_lies(
    unpacked: Path, tmp_path: Path, text: str | None
) -> None:
    source = Path(shutil.copytree(unpacked, tmp_path / "source"))
    for name in LINKS if text else ():
        (source / "patchpress" / name).write_text(f"{text}{name}")
    environment = {"PATH": os.environ["PATH"]}
    code = "from patchpress import convert, open_store; print(convert, open_store.__code__)"
    ended = python("-c", code, cwd=source, env=environment)
    assert ended.code == 0, ended.err
    assert str(source / "readers" / "store.py") in ended.out
    ended = python("-m", "patchpress", "datasets", cwd=source, env=environment)
    assert (ended.code, ended.err) == (0, "")
    assert DATASET in ended.out


def test_the_installed_wheel_converts_and_reads(wheel: Path, tmp_path: Path) -> None:
    """In a folder with a readers.py and a converter.py, which belong to its user."""
    site, work = tmp_path / "site", tmp_path / "work"
    work.mkdir()
    pip = ("-m", "pip", "--quiet", "install", "--no-index", "--no-deps", "--target", site, wheel)
    ended = python(*pip)
    assert ended.code == 0, ended.err
    for name in LINKS:
        (work / f"{name}.py").write_text("raise SystemExit('the wrong file was imported')\n")
    make_tree(work / "raw", n=4, flagged=1)
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def run(*words: object) -> str:
        done = subprocess.run(
            [str(word) for word in words],
            cwd=work,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "5 s2" in run(site / "bin" / "patchpress", "convert", DATASET, "raw", "store")
    assert "good" in run(sys.executable, "-m", "patchpress", "verify", "store", "--against", "raw")
    (work / "read.py").write_text(
        "from patchpress import open_store\n"
        "import patchpress\n"
        "store = open_store('store')\n"
        "print(patchpress.__file__)\n"
        "print(store.read(store.keys('s2')[0]).shape)\n"
    )
    path, shape = run(sys.executable, "read.py").splitlines()
    assert Path(path).is_relative_to(site)
    assert shape == "(12, 120, 120)"
