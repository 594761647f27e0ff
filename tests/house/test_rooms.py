"""The house: which room imports which, read from the code itself, and under which names."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# The floors of each package, from top to bottom. A module may import its own floor and those below
# it. A floor is a folder with an `__init__.py`, or some modules that lie beside the folders;
# `OTHERS` are all modules there that are not named.
OTHERS = "*"
FLOORS: dict[str, tuple[set[str], ...]] = {
    "converter": (
        {"cli", "commandline", "arguments", "exits"},
        {"commands"},
        {"viewer"},
        {"exports"},
        {"pictures"},
        {"transfer"},
        {"contents"},
        {"cluster"},
        {"planning"},
        {"storage"},
        {"drafting"},
        {"tables"},
        {"encoding"},
        {"sources"},
        {"descriptions"},
        {OTHERS},
    ),
    "readers": (
        {OTHERS},
        {"staging"},
        {"remote"},
        {"access"},
        {"format"},
        {"errors", "hints", "showing"},
    ),
}
CODE = ("patchpress", "converter", "readers", "benchmarks", "examples", "tests")


def modules(root: Path, *folders: str) -> list[Path]:
    """The Python files of some folders, without what stands in a room's `__init__.py`."""
    found = (path for folder in folders for path in sorted((root / folder).rglob("*.py")))
    return [path for path in found if path.name != "__init__.py"]


def name_of(path: Path, root: Path) -> str:
    """The name by which a file of `converter` or `readers` is imported."""
    return ".".join(("patchpress", *path.relative_to(root).with_suffix("").parts))


@cache
def nodes(text: str) -> tuple[ast.AST, ...]:
    """All imports and classes of a file's text, which several tests look at."""
    kinds = (ast.ImportFrom, ast.Import, ast.ClassDef)
    return tuple(node for node in ast.walk(ast.parse(text)) if isinstance(node, kinds))


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, by their whole names, wherever the import stands."""
    for node in nodes(path.read_text()):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively: write the whole name"
            yield node.module or ""
            # What is taken from a room may be a module of it.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def floor(module: str) -> tuple[str, int] | None:
    """The package of a module, and its floor, counted from the top; None for others' modules."""
    top, package, name, *_ = [*module.split("."), "", ""]
    if top != "patchpress" or package not in FLOORS or not name:
        return None
    floors = FLOORS[package]
    named = [at for at, names in enumerate(floors) if name in names]
    return package, named[0] if named else floors.index({OTHERS})


def arrows(root: Path) -> Iterator[tuple[str, str]]:
    """(importing, imported) for all imports between modules of the two packages."""
    for path in modules(root, *FLOORS):
        yield from ((name_of(path, root), module) for module in imports(path) if floor(module))


def wrong_arrows(root: Path) -> list[str]:
    """A sentence for each import that points up, or from the readers to the converter."""
    wrong = []
    for one, other in arrows(root):
        here, there = floor(one), floor(other)
        assert here is not None
        assert there is not None
        if here[0] == "readers" and there[0] == "converter":
            wrong.append(f"{one} imports {other}: the readers never import the converter")
        elif here[0] == there[0] and there[1] < here[1]:
            wrong.append(
                f"{one} imports {other}, which is on a floor above it: move what both need to the "
                "lower one, or let the upper one hand it down"
            )
    return wrong


def test_no_import_points_up() -> None:
    assert len(set(arrows(ROOT))) > 300
    assert wrong_arrows(ROOT) == []


@pytest.mark.parametrize(
    ("path", "line", "said"),
    [
        ("converter/storage/disk.py", "from patchpress.converter import cli", "on a floor above"),
        ("converter/text.py", "import patchpress.converter.tables.rows", "on a floor above"),
        ("readers/format/record.py", "from patchpress.readers import store", "on a floor above"),
        ("readers/hints.py", "from patchpress.readers.format import stack", "on a floor above"),
        ("readers/store.py", "import patchpress.converter.text", "never import the converter"),
        ("converter/commands/stats.py", "from patchpress.readers import store", None),
        ("converter/tables/rows.py", "from patchpress.converter import text", None),
    ],
)
def test_an_import_that_points_up_is_found(
    tmp_path: Path, path: str, line: str, said: str | None
) -> None:
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(f"def f() -> None:\n    {line}\n")
    found = wrong_arrows(tmp_path)
    assert bool(found) == bool(said)
    assert all(said is not None and said in sentence for sentence in found)


@pytest.mark.parametrize("package", FLOORS)
def test_every_room_has_a_floor(package: str) -> None:
    folders = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
    files = {path.stem for path in modules(ROOT, package) if path.parent.name == package}
    named = set.union(*FLOORS[package]) - {OTHERS}
    assert folders <= named, "a new room: add it to FLOORS, above the rooms that it imports"
    assert named <= folders | files, "FLOORS names a room or a module that is not there"


@pytest.mark.parametrize("package", FLOORS)
def test_every_room_says_what_it_is_for_and_what_it_may_import(package: str) -> None:
    rooms = sorted((ROOT / package).rglob("__init__.py"))
    assert len(rooms) >= 3
    known = {path.parent.name for path in rooms} - {package}
    for path in rooms:
        tree = ast.parse(path.read_text())
        text = ast.get_docstring(tree) or ""
        assert len(text) > 60, f"{path} does not say what the room is for"
        assert len(tree.body) == 1, f"{path} holds code, which belongs in a module"
        if path.parent.name in known:
            here = floor(f"patchpress.{package}.{path.parent.name}")
            for name in known & set(re.findall(r"`(\w+)`", text)):
                there = floor(f"patchpress.{package}.{name}")
                assert (there or ("", 0)) > (here or ("", 0)), f"{path} names {name}, a room above"


def test_no_module_imports_itself_by_way_of_others() -> None:
    names = {name_of(path, ROOT) for path in modules(ROOT, *FLOORS)}
    assert len(names) > 90
    graph: dict[str, set[str]] = {}
    for one, other in arrows(ROOT):
        if other in names:
            graph.setdefault(one, set()).add(other)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


def test_no_two_classes_have_one_name() -> None:
    found: dict[str, list[str]] = {}
    for path in modules(ROOT, *FLOORS, "benchmarks", "examples"):
        for node in nodes(path.read_text()):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert len(found) > 150
    twice = {name: paths for name, paths in found.items() if len(paths) > 1}
    assert twice == {}, "give each class a name of its own"


def test_nobody_imports_the_folders_by_their_bare_names() -> None:
    paths = modules(ROOT, *CODE)
    assert len(paths) > 200
    for path in paths:
        for module in imports(path):
            assert module.split(".")[0] not in FLOORS, f"{path}: import patchpress.{module}"


def test_no_text_imports_the_folders_by_their_bare_names() -> None:
    """Also not in documents, nor in programs that tests hand to another process."""
    texts = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *modules(ROOT, *CODE)]
    texts += [ROOT / "benchmarks" / "README.md", ROOT / "readers" / "FORMAT.md"]
    assert len(texts) > 200
    folders = "|".join(FLOORS)
    bare = re.compile(rf"\bimport (?:{folders})\b|\bfrom (?:{folders})[.\w]* import\b")
    for path in texts:
        assert not bare.findall(path.read_text()), f"{path}: the import name is patchpress"


def test_the_code_imports_its_modules_by_their_own_names() -> None:
    """Not from the package `patchpress`: that would hide which room is meant."""
    for path in modules(ROOT, *FLOORS):
        assert not {"patchpress", "patchpress.open_store"} & set(imports(path)), path


def test_nothing_imports_tests_or_benchmarks() -> None:
    for path in modules(ROOT, *FLOORS, "patchpress", "examples"):
        for module in imports(path):
            assert module.split(".")[0] not in ("tests", "benchmarks"), path
    for path in modules(ROOT, "benchmarks"):
        assert "tests" not in {module.split(".")[0] for module in imports(path)}, path


def test_a_script_may_lie_beside_files_called_as_our_folders(tmp_path: Path) -> None:
    for name in FLOORS:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong file was imported')\n")
    script = tmp_path / "train.py"
    script.write_text(
        "import patchpress\n"
        "from patchpress import convert, open_store, verify\n"
        "print(open_store.__module__, convert.__module__)\n"
    )
    ended = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == [
        "patchpress.readers.store",
        "patchpress.converter.commands.convert",
    ]
