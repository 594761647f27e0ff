"""The house: which room imports which, read from the code itself, and under which names."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import patchpress

ROOT = Path(str(patchpress.__file__)).parent.parent
# From top to bottom; a room may import those that stand after it.
CONVERTER = (
    "commands",
    "planning",
    "storage",
    "tables",
    "encoding",
    "sources",
    "descriptions",
    "",
)
READERS = ("", "access", "format")
GROUND = {"blas", "memory", "options", "processes", "progress", "text"}
ABOVE = {"cli", "exits"}


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, by their whole names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively"
            yield node.module or ""
            # What is taken from a room may be a module of it.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    return "patchpress." + ".".join(path.relative_to(ROOT).with_suffix("").parts)


def floor(module: str) -> tuple[str, int] | None:
    """Which package a module is of, and how far below the top; None if it is none of ours."""
    parts = module.split(".")
    if parts[:2] == ["patchpress", "converter"] and len(parts) > 2:
        if parts[2] in ABOVE:
            return "converter", -1
        if parts[2] in GROUND:
            return "converter", CONVERTER.index("")
        return ("converter", CONVERTER.index(parts[2])) if parts[2] in CONVERTER else None
    if parts[:2] == ["patchpress", "readers"] and len(parts) > 2:
        if parts[2] == "errors":
            return "readers", len(READERS)
        room = parts[2] if parts[2] in READERS else ""
        return "readers", READERS.index(room)
    return None


def test_no_arrow_points_up() -> None:
    arrows = 0
    for path in [*modules("converter"), *modules("readers")]:
        here = floor(name_of(path))
        if path.name == "__init__.py":
            continue
        assert here is not None, f"{path} is in no room: add it to this test"
        for module in imports(path):
            there = floor(module)
            if there is None:
                continue
            arrows += 1
            shown = f"{path.relative_to(ROOT)} imports {module}"
            if here[0] == there[0]:
                assert there[1] >= here[1], f"{shown}, which stands above it"
            else:
                assert here[0] == "converter", f"{shown}: readers never import the converter"
    assert arrows > 300


def test_no_module_imports_one_that_imports_it() -> None:
    paths = [p for p in [*modules("converter"), *modules("readers")] if p.name != "__init__.py"]
    known = {name_of(path): path for path in paths}
    graph = {name: {m for m in imports(path) if m in known} for name, path in known.items()}
    assert len(graph) > 90
    seen: dict[str, bool] = {}

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"a circle of imports: {' -> '.join((*way, name))}"
        if seen.get(name):
            return
        for other in sorted(graph[name]):
            visit(other, (*way, name))
        seen[name] = True

    for name in graph:
        visit(name, ())


def test_nobody_imports_the_folders_by_their_bare_names() -> None:
    paths = [p for top in ("converter", "readers", "tests", "benchmarks", "examples", "patchpress")
             for p in modules(top)]  # fmt: skip
    assert len(paths) > 250
    for path in paths:
        for module in imports(path):
            assert module.split(".")[0] not in ("converter", "readers"), path


def test_nothing_imports_tests_or_benchmarks() -> None:
    for path in [*modules("converter"), *modules("readers"), *modules("examples")]:
        for module in imports(path):
            assert module.split(".")[0] not in ("tests", "benchmarks"), path


@pytest.mark.parametrize("package", ["converter", "readers"])
def test_every_room_says_what_it_is_for(package: str) -> None:
    rooms = sorted((ROOT / package).rglob("__init__.py"))
    assert len(rooms) >= 3
    for path in rooms:
        tree = ast.parse(path.read_text())
        assert len(ast.get_docstring(tree) or "") > 60, path
        assert len(tree.body) == 1, f"{path} holds code, which belongs in a module"


def test_a_script_may_lie_beside_files_called_as_our_folders(tmp_path: Path) -> None:
    for name in ("readers", "converter"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong file was imported')\n")
    script = tmp_path / "train.py"
    script.write_text(
        "import patchpress\n"
        "from patchpress import ConvertOptions, convert, open_store, verify\n"
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
