"""The source distribution and the wheel, built for real: what is in them, and whether they work."""

import os
import re
import shutil
import subprocess
import tarfile
import tomllib
import zipfile
from email import message_from_string
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from tests.support.helpers import DATASET, Ended, python
from tests.support.synthetic import make_tree

pytestmark = pytest.mark.slow

pytest.importorskip("setuptools", reason="setuptools is not installed: pip install '.[dev]'")

ROOT = Path(__file__).parents[2]
# What lies in a checkout and is not the project's: made by tools, or kept by git.
MADE = shutil.ignore_patterns(
    ".*_cache", ".coverage-data", ".dist", ".fuzz", ".git", ".hypothesis", ".venv*", "*.egg-info",
    "__pycache__", "bench", "build", "demo", "dist", "site",
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
    """Files of the checkout under a folder, by their paths from the root; all without endings."""
    paths = (path for path in (ROOT / folder).rglob("*") if path.is_file())
    return {
        str(path.relative_to(ROOT))
        for path in paths
        if (path.suffix in endings or not endings)
        and not {"__pycache__", ".ipynb_checkpoints"} & {*path.parts}
    }


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
    wanted |= {"CITATION.cff", "SECURITY.md", "mkdocs.yml", "MANIFEST.in", "setup.py"}
    wanted |= {"pyproject.toml", "readers/FORMAT.md", "patchpress/py.typed"}
    wanted |= files("docs") | files("benchmarks") | files("tests") | files("examples")
    wanted |= files("converter", *DATA) | files("readers", ".py")
    assert len(wanted) > 250
    assert {"tests/support/faulty.c", "tests/lowest.txt", "examples/first_steps.ipynb"} <= wanted
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


class Installed(NamedTuple):
    """The wheel in an environment of its own, in which nothing else is to be had but what the
    wheel asks for: extras and everything else that this environment has are refused."""

    python: Path
    site: Path

    def run(self, *words: object, cwd: Path) -> Ended:
        environment = {"PATH": os.environ["PATH"], "HOME": str(cwd)}
        done = subprocess.run(
            [self.python, *map(str, words)],
            cwd=cwd, env=environment, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        return Ended(done.returncode, done.stdout, done.stderr)


# Python runs it as it starts. What the wheel needs is found by following its requirements.
ONLY_WHAT_IS_ASKED_FOR = """
import re, sys
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
sys.path.remove({types!r})
sys.path.append({others!r})
known, wanted = set(), ["patchpress"]
while wanted:
    name = re.sub("[-_.]+", "-", wanted.pop()).lower()
    try:
        needed = distribution(name).requires or []
    except PackageNotFoundError:
        continue  # for another system or Python
    if name not in known:
        known.add(name)
        wanted += [re.match("[A-Za-z0-9._-]+", one)[0] for one in needed if "extra ==" not in one]
refused = {{
    module
    for module, of in packages_distributions().items()
    if not known & {{re.sub("[-_.]+", "-", one).lower() for one in of}}
}} - sys.stdlib_module_names

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in refused:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Refuse())
"""


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("environment")
    assert python("-m", "venv", "--without-pip", folder).code == 0
    (site,) = folder.glob("lib/python*/site-packages")
    ended = python("-m", "pip", "--quiet", "install", "--no-index", "--no-deps", "--target", site,
                   wheel)  # fmt: skip
    assert ended.code == 0, ended.err
    others = Path(pytest.__file__).parents[1]
    # Type checkers start no Python: they get NumPy, and not the minutes that torch would take.
    types = folder / "types"
    types.mkdir()
    (types / "numpy").symlink_to(Path(np.__file__).parent)
    (site / "types.pth").write_text(str(types))
    starts = ONLY_WHAT_IS_ASKED_FOR.format(others=str(others), types=str(types))
    (site / "sitecustomize.py").write_text(starts)
    return Installed(folder / "bin" / "python", site)


def test_the_installed_wheel_needs_no_more_than_it_asks_for(
    installed: Installed, tmp_path: Path
) -> None:
    """In a folder with a readers.py and a converter.py, which belong to its user."""
    for name in LINKS:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong file was imported')\n")
    for name in ("torch", "pytest"):
        assert (
            f"No module named '{name}'" in installed.run("-c", f"import {name}", cwd=tmp_path).err
        )
    make_tree(tmp_path / "raw", n=4, flagged=1)
    program = installed.site / "bin" / "patchpress"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for words, shown in (
        (("--version",), f"patchpress {project['version']}"),
        (("--help",), "convert"),
        (("convert", DATASET, "raw", "store"), "5 s2"),
        (("verify", "store", "--against", "raw"), "good"),
        (("stats", "store"), "B8A"),
        (("export", "geotiff", "store", "tiffs"), "pixels"),
    ):
        ended = installed.run(program, *words, cwd=tmp_path)
        assert (ended.code, ended.err) == (0, "")
        assert shown in ended.out
    ended = installed.run("-m", "patchpress", "plot", "store", "--out", "x.png", cwd=tmp_path)
    assert ended.code == 2
    assert "pip install matplotlib" in ended.err


def test_a_strict_type_checker_accepts_a_program_that_uses_the_wheel(
    installed: Installed, tmp_path: Path
) -> None:
    """mypy, with no setting of ours; then the program runs."""
    pytest.importorskip("mypy", reason="mypy is not installed: pip install '.[dev]'")
    program = tmp_path / "client.py"
    program.write_text((ROOT / "tests" / "support" / "typed_client.py").read_text())
    options = ("--strict", "--config-file=", "--cache-dir", os.devnull)
    ended = python("-m", "mypy", *options, "--python-executable", installed.python, program,
                   cwd=tmp_path, env={"PATH": os.environ["PATH"]})  # fmt: skip
    assert ended.code == 0, ended.out
    (tmp_path / "work").mkdir()
    make_tree(tmp_path / "raw", n=8)
    ended = installed.run(program, "raw", "work", cwd=tmp_path)
    assert ended.code == 0, ended.err
    path, _, shapes = ended.out.split(maxsplit=2)
    assert Path(path).is_relative_to(installed.site)
    assert re.fullmatch(r"\(12, 120, 120\) \(\d+, 3, 120, 120\)\n", shapes)


def page_of(source: Path, tmp_path: Path) -> str:
    """The page of the package index, as the build makes it."""
    out = tmp_path / "metadata"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    code = (
        "from setuptools import build_meta;"
        f"build_meta.prepare_metadata_for_build_wheel({str(out)!r})"
    )
    ended = python("-c", code, cwd=source, env={"PATH": os.environ["PATH"]})
    assert ended.code == 0, ended.err
    (path,) = out.glob("*.dist-info/METADATA")
    message = message_from_string(path.read_text())
    assert message["Description-Content-Type"] == "text/markdown"
    return str(message.get_payload())


def test_no_link_of_the_index_s_page_leads_nowhere(checkout: Path, tmp_path: Path) -> None:
    """No file of the project lies beside that page."""
    page = page_of(checkout, tmp_path)
    links = re.findall(r"\]\(([^)]*)\)", page)
    assert links
    assert [link for link in links if not link.startswith("https://")] == []
    named = set(re.findall(r"`([\w/-]+\.md)`", page))
    assert {"docs/quick-start.md", "readers/FORMAT.md"} <= named
    assert all((checkout / name).is_file() for name in named)


def test_with_an_address_the_index_s_page_links_to_it(checkout: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(checkout, tmp_path / "source", symlinks=True))
    project = source / "pyproject.toml"
    text = project.read_text()
    commented = re.search(r"^# (\[project\.urls\])\n# (Source = )\S+$", text, re.MULTILINE)
    assert commented is not None
    address = f'{commented[1]}\n{commented[2]}"https://example.org/us/patchpress"'
    project.write_text(text.replace(commented[0], address))
    version = tomllib.loads(text)["project"]["version"]
    page = page_of(source, tmp_path)
    base = "https://example.org/us/patchpress"
    assert f"]({base}/blob/v{version}/docs/quick-start.md)" in page
    assert f"]({base}/raw/v{version}/docs/patches.png)" in page
    assert [link for link in re.findall(r"\]\(([^)]*)\)", page) if "://" not in link] == []
