"""The folder that becomes a store: refused where it is something else, locked while it is made."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from readers.errors import TargetError
from readers.manifest import DATA, FORMAT, MANIFEST, METADATA

MARKER = "unfinished.json"  # there from the first byte until the manifest is
LOCK = "lock.mdb"
OWN_FILES = (MANIFEST, f"{MANIFEST}.partial", METADATA, DATA, LOCK, MARKER)


@contextmanager
def claim(store: Path, settings: Mapping[str, Any], *, overwrite: bool) -> Iterator[None]:
    """Make `store` an empty folder with our marker in it; take the marker away at a good end.

    What an interrupted conversion left is begun again. Nothing that is not ours is ever removed.

    Raises:
        TargetError: there is a finished store and no `overwrite`, something else, a conversion at
            work, or no right to write.
    """
    _check(store, overwrite=overwrite)
    try:
        store.mkdir(parents=True, exist_ok=True)
        marker = os.open(store / MARKER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise TargetError(
            f"{store} cannot be written ({error.strerror}): choose another place for the store"
        ) from None
    try:
        _lock(marker, store)
        for name in OWN_FILES:
            if name != MARKER:
                (store / name).unlink(missing_ok=True)
        os.ftruncate(marker, 0)
        os.write(marker, json.dumps(settings, indent=1).encode())
        yield
        (store / MARKER).unlink()
    finally:
        os.close(marker)


def _check(store: Path, *, overwrite: bool) -> None:
    if not os.path.lexists(store):
        return
    if not store.is_dir():
        raise TargetError(f"{store} is a file, not a folder: choose another place for the store")
    foreign = sorted(set(os.listdir(store)) - set(OWN_FILES))
    ours = _is_ours(store / MANIFEST) or (store / MARKER).exists()
    if foreign or (not ours and any(os.scandir(store))):
        there = foreign[0] if foreign else sorted(os.listdir(store))[0]
        raise TargetError(
            f"{store} is a folder with other things in it ({there}): choose a new or empty one"
        )
    if (store / MANIFEST).exists() and not overwrite:
        raise TargetError(
            f"{store} is a finished store: choose another place, or give --overwrite to replace it"
        )


def _is_ours(manifest: Path) -> bool:
    """Whether it is a store's manifest; other programs have files of that name, too."""
    return manifest.exists() and f'"{FORMAT}"'.encode() in manifest.read_bytes()[:100]


def _lock(marker: int, store: Path) -> None:
    try:
        fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise TargetError(
            f"another conversion is writing {store}: wait for its end, or choose another place"
        ) from None
