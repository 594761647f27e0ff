"""``python -m tests.mutants [NAME …]``: change the code in one place, and see whether a test fails.

    --count 80     mutants of each module, drawn from all that cosmic-ray knows to make
    --seed 1       of the draw: the same mutants for the same code
    --slow         with the slow tests

Prints a mutant that no test notices as a difference. Many of those change nothing that matters, or
only how fast it is: read them, and write a test for each that does. A copy of the repository is
mutated. Tests run in forks of one process that has imported what is large, so they begin at once.
"""

import argparse
import importlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from difflib import unified_diff
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest
from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

from tests.mutants.modules import MODULES, Mutated

REPOSITORY = Path(__file__).resolve().parents[2]
# Imported before the forks; nothing of the package is, as it is mutated.
LARGE = "hypothesis imagecodecs lmdb numpy pyarrow.parquet rasterio rich safetensors.numpy typer"
PASSED, IS_NONE = 0, 99  # exit codes of a fork: no test failed; it cannot be imported


class Mutant(NamedTuple):
    """One change of a file."""

    file: str
    code: str
    difference: str


def main() -> int:
    """Try mutants of each module, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MODULES))
    parser.add_argument("--count", type=int, default=80)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--slow", action="store_true")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - MODULES.keys())
    if unknown:
        parser.error(f"there is no module {unknown[0]}: {', '.join(MODULES)}")
    for name in LARGE.split():
        importlib.import_module(name)
    table = [f"{'module':<10} {'mutants':>8} {'noticed':>8} {'share':>6}"]
    with TemporaryDirectory() as folder:
        tried = _Copy(Path(folder) / "repository", slow=options.slow)
        for name in options.names or MODULES:
            count, noticed = tried.try_all(MODULES[name], options.count, options.seed)
            table.append(f"{name:<10} {count:>8} {noticed:>8} {noticed / max(count, 1):>6.0%}")
            print(table[-1], flush=True)
    print(*table, sep="\n")
    return 0


class _Copy:
    """A copy of the repository, whose files are mutated."""

    def __init__(self, root: Path, *, slow: bool) -> None:
        self._root, self._slow = root, slow
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=REPOSITORY,
            capture_output=True,
            check=True,
        )
        for name in filter(None, listed.stdout.decode().split("\0")):
            target = root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # removed, and not yet in git
                shutil.copy2(REPOSITORY / name, target, follow_symlinks=False)
        shared = REPOSITORY.parent / "shared"
        if shared.exists():
            (root.parent / "shared").symlink_to(shared)

    def try_all(self, module: Mutated, count: int, seed: int) -> tuple[int, int]:
        """How many mutants were tried, and how many of them a test noticed."""
        begun = time.monotonic()
        if self._tested(module, module.files[0], None) != PASSED:
            print((self._root.parent / "log.txt").read_text())
            raise SystemExit(f"the tests of {module.files[0]} fail without a mutant")
        longest = 30 + 5 * (time.monotonic() - begun)
        tried = noticed = 0
        draw = random.Random(seed)  # noqa: S311 -- a sample, no secret
        for mutant in _mutants(self._root, module, draw):
            if tried == count:
                break
            file = self._root / mutant.file
            before = file.read_text()
            file.write_text(mutant.code)
            try:
                code = self._tested(module, mutant.file, longest)
            finally:
                file.write_text(before)
            if code == IS_NONE:
                continue
            tried += 1
            noticed += code != PASSED
            if code == PASSED:
                print(mutant.difference, flush=True)
            # A run that is stopped has told how far it came.
            print(f"{tried} tried, {noticed} noticed", file=sys.stderr, flush=True)
        return tried, noticed

    def _tested(self, module: Mutated, file: str, seconds: float | None) -> int:
        """The exit code of pytest, in a process of its own; not 0 if it takes too long."""
        child = os.fork()
        if not child:
            self._test(module, file)
        end = None if seconds is None else time.monotonic() + seconds
        while True:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                break
            if end is not None and time.monotonic() > end:
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return -signal.SIGKILL
            time.sleep(0.02)
        with suppress(ProcessLookupError):  # what a test has left
            os.killpg(child, signal.SIGKILL)
        return os.waitstatus_to_exitcode(status)

    def _test(self, module: Mutated, file: str) -> None:
        """Test, as a fork, and end it."""
        code: int = IS_NONE
        try:
            os.setsid()
            os.chdir(self._root)
            os.environ["PYTHONPATH"] = str(self._root)
            sys.path.insert(0, str(self._root))
            sys.dont_write_bytecode = True
            os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
            for name in list(sys.modules):
                if name.split(".")[0] in ("tests", "patchpress"):
                    del sys.modules[name]
            with open(self._root.parent / "log.txt", "wb") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
            importlib.import_module("patchpress." + file.removesuffix(".py").replace("/", "."))
            slow = () if self._slow else ("-m", "not slow")
            code = int(
                pytest.main(
                    ["-x", "--assert=plain", "-p", "no:cacheprovider", *slow, *module.tests]
                )
            )
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


def _mutants(root: Path, module: Mutated, draw: random.Random) -> Iterator[Mutant]:
    """All mutants of a module, in an order that is drawn."""
    sources = {file: (root / file).read_text() for file in module.files}
    places = []
    for file, source in sources.items():
        nodes = list(ast_nodes(get_ast(source)))
        for name in plugins.operator_names():
            kind = plugins.get_operator(name)
            if kind.arguments():
                continue
            count = sum(len(list(kind().mutation_positions(node))) for node in nodes)
            places += [(file, name, number) for number in range(count)]
    draw.shuffle(places)
    for file, name, number in places:
        code = None
        with suppress(AttributeError):  # cosmic-ray cannot change what `except re.error` names
            code = mutate_code(sources[file], plugins.get_operator(name)(), number)
        if code is not None and code != sources[file]:
            before, after = (text.splitlines(keepends=True) for text in (sources[file], code))
            yield Mutant(file, code, "".join(unified_diff(before, after, file, name, n=1)))


if __name__ == "__main__":
    sys.exit(main())
