"""The folder that an export writes: beside its place until it is whole, then renamed."""

import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from patchpress.converter.sources.apart import require_no_source
from patchpress.converter.storage.folder import writing
from patchpress.readers.errors import OptionError, TargetError
from patchpress.readers.format.whole_file import flush_folder, write_whole
from patchpress.readers.store import Store

MARKER = "export.json"
"""The file of an exported folder that says what wrote it and what is in it."""
UNFINISHED = ".unfinished"
"""How the name of a folder ends as long as it is not whole."""


def check_out(out: Path, store: Store, *, overwrite: bool) -> None:
    """Refuse a folder that an export may not write; it need not be there.

    Raises:
        TargetError: it is there and is not to be replaced, or lies in a source.
        OptionError: it would lie in the store itself.
    """
    require_no_source(out)
    if store.url is None:
        real, folder = out.resolve(), store.path.resolve()
        if real.is_relative_to(folder) or folder.is_relative_to(real):
            raise OptionError(
                f"{out} and the store {store.path} would lie in each other: give another OUT"
            )
    if not os.path.lexists(out):
        return
    if not overwrite:
        raise TargetError(
            f"{out} is there already: choose another OUT, or give --overwrite if an export wrote it"
        )
    other = _not_exported(out)
    if other:
        raise TargetError(f"{other}: remove {out} yourself, or choose another OUT")


def _not_exported(out: Path) -> str:
    """What of a folder no export wrote, in words; empty if there is nothing of the kind."""
    what = f"{out} was not written by an export, so that --overwrite does not replace it"
    if out.is_symlink() or not out.is_dir():
        return what
    try:
        entries = json.loads((out / MARKER).read_bytes())["entries"]
        known = {MARKER, *map(str, entries)}
    except (OSError, ValueError, KeyError, TypeError):
        return what
    with writing(out):
        others = sorted(set(os.listdir(out)) - known)
    return f"{out} has {others[0]!r}, which no export wrote" if others else ""


@contextmanager
def unfinished_folder(out: Path, facts: Mapping[str, Any]) -> Iterator[Path]:
    """A new folder beside `out`, which takes its place when the block ends; else it is removed.

    Args:
        out: what `check_out` allows.
        facts: what its `MARKER` says besides the names in it.

    Raises:
        TargetError: it cannot be written.
    """
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = out.parent / f".{out.name}.{secrets.token_hex(4)}{UNFINISHED}"
        folder.mkdir()
    try:
        with writing(out):
            yield folder
            content = {"written_by": "patchpress export", **facts}
            content["entries"] = sorted(os.listdir(folder))
            write_whole(folder / MARKER, json.dumps(content, indent=1).encode())
            _take_place(folder, out)
            flush_folder(out.parent)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _take_place(folder: Path, out: Path) -> None:
    """Rename a whole folder to its place; an earlier export there is removed last."""
    if not os.path.lexists(out):
        folder.rename(out)
        return
    earlier = folder.with_name(f"{folder.name}.earlier")
    out.rename(earlier)
    try:
        folder.rename(out)
    except OSError:
        earlier.rename(out)
        raise
    shutil.rmtree(earlier)


def left_behind(out: Path) -> list[str]:
    """Folders beside `out` that exports to it left when they were killed."""
    try:
        names = os.listdir(out.parent)
    except OSError:
        return []
    return sorted(n for n in names if n.startswith(f".{out.name}.") and UNFINISHED in n)
