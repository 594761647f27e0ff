"""The cache of small files: how large it gets, what goes first, and what is in use."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from patchpress.readers.access import locks
from patchpress.readers.errors import OptionError
from patchpress.readers.remote import cache_folder
from patchpress.readers.remote.cache_folder import IN_USE, cached_folder, make_room
from tests.support.machines import ROOT


@pytest.fixture(autouse=True)
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(cache_folder.CACHE, str(tmp_path))
    monkeypatch.setenv(cache_folder.CACHE_SIZE, "3kB")
    return tmp_path / "stores"


def filled(name: str, age: int, nbytes: int = 1000) -> Path:
    """A folder of a store that was opened so many seconds ago, and that nobody uses."""
    folder, lock = cached_folder(name)
    (folder / "metadata.parquet").write_bytes(bytes(nbytes))
    then = os.stat(folder).st_mtime - age
    if locks.possible:
        os.utime(folder / IN_USE, (then, then))
    if lock is not None:
        lock.close()
    return folder


def there(stores: Path) -> set[str]:
    return set(os.listdir(stores))


def test_what_was_opened_longest_ago_goes_first(stores: Path) -> None:
    for name, age in [("b", 200), ("a", 300), ("d", 0), ("c", 100)]:
        filled(name, age)
    make_room()
    assert there(stores) == {"b", "c", "d"}
    filled("e", -1, 2000)
    make_room()
    assert there(stores) == {"d", "e"}


def test_nothing_goes_while_there_is_room(stores: Path) -> None:
    for name in "abc":
        filled(name, 0)
    make_room()
    assert there(stores) == {"a", "b", "c"}


def test_opening_it_again_keeps_a_folder(stores: Path) -> None:
    filled("a", 300)
    filled("b", 200)
    _, lock = cached_folder("a")
    if lock is not None:
        lock.close()
    filled("c", 0, 2000)
    make_room()
    assert there(stores) == {"a", "c"}


@pytest.mark.skipif(not locks.possible, reason="no locks on this system")
def test_what_another_process_uses_stays(stores: Path) -> None:
    filled("a", 300)
    script = (
        "from patchpress.readers.remote.cache_folder import cached_folder\n"
        "held = cached_folder('a')\n"
        "import os\n"
        f"os.utime({str(stores / 'a' / IN_USE)!r}, (0, 0))\n"
        "print('held', flush=True)\n"
        "input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        for name in "bcd":
            filled(name, 10)
        make_room()
        assert "a" in there(stores)
        assert len(there(stores)) == 3
        process.kill()
        process.wait()
    filled("e", 0, 2500)
    make_room()
    assert there(stores) == {"e"}


@pytest.mark.skipif(not locks.possible, reason="no locks on this system")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_that_was_forked_uses_it_too(stores: Path) -> None:
    folder, lock = cached_folder("a")
    (folder / "metadata.parquet").write_bytes(bytes(9000))
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(writing)
        os.read(reading, 1)  # until the parent ends this
        os._exit(0)
    try:
        if lock is not None:
            lock.close()  # the child has it still
        make_room()
        assert there(stores) == {"a"}
    finally:
        os.close(writing)
        os.waitpid(child, 0)
        os.close(reading)


def test_removed_while_it_is_opened_makes_it_anew(
    stores: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process removes the folder between its making and its lock."""
    mkdir, calls = Path.mkdir, list[Path]()

    def make_and_lose(self: Path, *args: object, **named: object) -> None:
        mkdir(self, *args, **named)  # type: ignore[arg-type]
        if self.name == "a" and not calls:
            calls.append(self)
            self.rename(stores / ".removed-a-0")

    monkeypatch.setattr(Path, "mkdir", make_and_lose)
    folder, lock = cached_folder("a")
    assert folder.is_dir()
    assert calls
    make_room()
    assert there(stores) == {"a"}  # and what was left behind is gone
    assert lock is not None or not locks.possible


def test_without_locks_nothing_is_removed(stores: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "possible", False)
    for name in "abcde":
        filled(name, 0)
    make_room()
    assert there(stores) == set("abcde")


def test_a_size_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache_folder.CACHE_SIZE, "much")
    with pytest.raises(OptionError, match="'much' in PATCHPRESS_CACHE_SIZE is no number of bytes"):
        cached_folder("a")
