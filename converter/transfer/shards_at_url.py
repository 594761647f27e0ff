"""A store at a URL while its shards are made: what is there, and what is sent and fetched.

The objects have the names of a local store's files. `unfinished.json` is put first and says with
what settings the store was begun; each shard's `shard.json` is put after its other files, and
`manifest.json` after all of the store's. Whatever is between these is sent again.
"""

import json
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from patchpress.converter.storage.folder import DecisiveSettings, writing
from patchpress.converter.storage.ownership import SHARD_FILE, SHARD_JOURNAL, parsed_settings
from patchpress.converter.storage.settings_difference import differences, told
from patchpress.converter.storage.shard_file import (
    FinishedShard,
    parse_shard_file,
    settings_digest,
)
from patchpress.converter.storage.shard_folder import FINISHED_FILES
from patchpress.readers.access.extents_file import load_extents
from patchpress.readers.errors import StoreDamaged, StoreMissing, TargetError
from patchpress.readers.format.manifest import (
    DATA,
    EXTENTS,
    MANIFEST,
    MANIFEST_LIMIT,
    MARKER,
    METADATA,
    STATISTICS,
    Manifest,
    from_bytes,
)
from patchpress.readers.format.shard_rule import shard_folder
from patchpress.readers.format.whole_file import write_whole
from patchpress.readers.remote.client import Client
from patchpress.readers.remote.remote_file import identity_at

T = TypeVar("T")
_WORKING = (SHARD_JOURNAL, EXTENTS, SHARD_FILE)
_LIMIT = 16 << 30  # bytes of a journal or of extents: those of 100 million records
_SHARD_LIMIT = 256 << 20  # bytes of `shard.json`
_AT_ONCE = 16  # shards whose files are fetched at a time: each is in memory until it is written


class ShardsAtUrl:
    """The shards of one store below a URL."""

    def __init__(self, url: str) -> None:
        """Take a URL; credentials are those of the environment. Asks for nothing yet.

        Raises:
            OptionError: a URL that cannot be.
        """
        self.client = Client(url)
        self.name = self.client.name

    def manifest(self) -> Manifest | None:
        """That of a finished store; None if there is none.

        Raises:
            StoreError: it cannot be read, or is none of ours.
        """
        data = self.client.whole(MANIFEST, MANIFEST_LIMIT)
        return None if data is None else from_bytes(data, f"{self.name}/{MANIFEST}")

    def settings(self) -> dict[str, Any] | None:
        """Those with which shards were begun; None if none were.

        Raises:
            StoreError: they cannot be read.
            TargetError: the marker is none of ours.
        """
        data = self.client.whole(MARKER, MANIFEST_LIMIT)
        if data is None:
            return None
        settings = parsed_settings(data)
        if settings is None or not isinstance(settings.get("shards"), int):
            raise TargetError(
                f"{self.name}/{MARKER} is of no conversion in shards: choose another URL"
            )
        return settings

    def settings_to_finish(self) -> dict[str, Any]:
        """As `settings`, of a store that must have been begun.

        Raises:
            StoreMissing: none was begun there.
            StoreError, TargetError: as `settings`.
        """
        settings = self.settings()
        if settings is None:
            raise StoreMissing(
                f"{self.name} has no shards to finish: begin with `patchpress convert … --shards N`"
            )
        return settings

    def begin(self, settings: DecisiveSettings, *, overwrite: bool = False) -> None:
        """Begin a store, or go on with one that was begun with the same settings.

        Args:
            settings: for the marker.
            overwrite: remove a finished store, or one that was begun with other settings.

        Raises:
            TargetError: there is another store; it cannot be written.
            StoreError: what is there cannot be read, or is none of ours.
        """
        manifest = self.manifest()
        if manifest is not None and not overwrite:
            raise TargetError(
                f"{self.name} is a finished store: choose another URL, or replace it with "
                "--overwrite"
            )
        content = json.dumps(settings, indent=1).encode()
        before = self.settings()
        if before is None and manifest is None:
            self.client.put_bytes(MARKER, content, new=True)
            before = self.settings()  # perhaps that of another process, which was first
        if manifest is None and before is not None:
            differ = differences(before, settings)
            if not differ:
                return
            if not overwrite:
                raise TargetError(
                    f"{self.name} was begun with {told(differ)}: give the same to go on, choose "
                    "another URL, or give --overwrite to begin anew"
                )
        # The marker first: a store that has both is finished, whenever this is killed.
        self.client.put_bytes(MARKER, content)
        self._remove_store(manifest, before)

    def _remove_store(self, manifest: Manifest | None, before: DecisiveSettings | None) -> None:
        self.client.remove(MANIFEST)
        names = [METADATA, EXTENTS, STATISTICS, self.report]
        names += [shard.path for shard in manifest.shards] if manifest is not None else []
        for number in range(before["shards"] if before is not None else 0):
            names += [f"{shard_folder(number)}/{name}" for name in (SHARD_FILE, *_WORKING, DATA)]
        self._all(partial(self.client.remove, name) for name in dict.fromkeys(names))

    @property
    def report(self) -> str:
        """The name of the file with the report, as that beside a local store."""
        return f"{self.name.rpartition('/')[2]}.report.json"

    def there(self, settings: DecisiveSettings) -> dict[int, FinishedShard | None]:
        """For each shard what it has, or None if it must be made: a warning says what is damaged.

        Raises:
            StoreError: it cannot be read.
        """
        numbers = range(settings["shards"])
        found = self._all(partial(self._found, number, settings) for number in numbers)
        for one in found:
            if isinstance(one, StoreDamaged):
                warnings.warn(str(one), stacklevel=2)
        return {
            number: one if isinstance(one, FinishedShard) else None
            for number, one in zip(numbers, found, strict=True)
        }

    def finished(self, number: int, settings: DecisiveSettings) -> FinishedShard | None:
        """One shard, as `there`."""
        found = self._found(number, settings)
        if isinstance(found, StoreDamaged):
            warnings.warn(str(found), stacklevel=2)
            return None
        return found

    def _found(
        self, number: int, settings: DecisiveSettings
    ) -> FinishedShard | StoreDamaged | None:
        folder = shard_folder(number)
        file, whole = f"{folder}/{SHARD_FILE}", f"{self.name}/{folder}"
        data = self.client.whole(file, _SHARD_LIMIT)
        if data is None:
            return None
        try:
            shard = parse_shard_file(data, f"{self.name}/{file}", whole)
        except StoreDamaged as error:
            return error
        own = number, settings["shards"], settings_digest(settings)
        if (shard.number, shard.shards, shard.settings) != own:
            return None  # of a store that was there before, and replaced
        known = self.client.find(f"{folder}/{DATA}")
        if known is None or known.size != shard.bytes:
            return StoreDamaged(
                f"{whole}/{DATA} is not the data file that {SHARD_FILE} beside it tells of: that "
                "shard has to be made again"
            )
        return shard

    def send(self, made: Path, shard: FinishedShard) -> None:
        """Send the files of a finished shard, and last the one that says that it is finished.

        Raises:
            TargetError: it cannot be written, or is not there as it was sent.
            StoreError: it cannot be read.
        """
        folder = shard_folder(shard.number)
        for name in FINISHED_FILES[:-1]:
            self.client.put(f"{folder}/{name}", made / name)
        known = self.client.find(f"{folder}/{DATA}")
        if known is None or known.size != shard.bytes:
            raise TargetError(
                f"{self.name}/{folder}/{DATA} is not there as it was sent: run the same again"
            )
        self.client.put(f"{folder}/{FINISHED_FILES[-1]}", made / FINISHED_FILES[-1])

    def fetch(self, shards: Iterable[FinishedShard], store: Path) -> None:
        """Fetch what is known of shards besides their data, into the folder of a store.

        The extents of each are compared with its data file.

        Raises:
            StoreDamaged: a file is absent, or is not that of its shard.
            StoreError, TargetError: it cannot be read; the folder cannot be written.
        """
        left = iter(shards)
        while some := list(islice(left, _AT_ONCE)):
            self._all(partial(self._fetch, shard, store) for shard in some)

    def _fetch(self, shard: FinishedShard, store: Path) -> None:
        name = shard_folder(shard.number)
        folder = store / name
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        for file in (SHARD_JOURNAL, EXTENTS):
            data = self.client.whole(f"{name}/{file}", _LIMIT)
            if data is None:
                raise self._broken(name, f"{file} is absent")
            with writing(folder):
                write_whole(folder / file, data)
        extents, _ = load_extents(folder, [DATA])
        identity = identity_at(self.client, f"{name}/{DATA}")
        if extents is None or extents.files[0]["identity"] != identity:
            raise self._broken(name, f"{EXTENTS} is not that of {DATA}")

    def _broken(self, folder: str, why: str) -> StoreDamaged:
        return StoreDamaged(
            f"{self.name}/{folder} is not as its conversion wrote it ({why}): remove its "
            f"{SHARD_FILE}, and make that shard again"
        )

    def publish(self, store: Path, report: bytes | None) -> None:
        """Send what describes all shards out of a folder, the manifest last.

        Raises:
            TargetError: it cannot be written.
        """
        for name in (METADATA, EXTENTS):
            self.client.put(name, store / name)
        self.client.remove(STATISTICS)  # of a store that was there before
        if report is None:
            self.client.remove(self.report)
        else:
            self.client.put_bytes(self.report, report)
        self.client.put(MANIFEST, store / MANIFEST)

    def remove_working_files(self, shards: int) -> None:
        """Remove what only the making of shards needed, when the manifest is there.

        Raises:
            TargetError: it cannot be removed.
        """
        names = [f"{shard_folder(n)}/{name}" for n in range(shards) for name in _WORKING]
        self._all(partial(self.client.remove, name) for name in names)
        self.client.remove(MARKER)  # until then the next run removes the others

    def _all(self, work: Iterable[Callable[[], T]]) -> list[T]:
        """Do many things that each wait for the server; the first error ends them."""
        futures = [self.client.background(one) for one in work]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()


def shards_begun_at(url: str) -> int | None:
    """With how many shards a store at a URL was begun that is not finished; None if it was not.

    Raises:
        OptionError, StoreError, TargetError: as `ShardsAtUrl.settings`.
    """
    settings = ShardsAtUrl(url).settings()
    return None if settings is None else int(settings["shards"])
