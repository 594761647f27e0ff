"""`RemoteReader`: the records of a store at a URL, as `RecordReader` has those of a folder."""

from typing import Any, NoReturn, cast

from patchpress.readers.access.extents import Extents
from patchpress.readers.access.extents_fetcher import ExtentsFetcher
from patchpress.readers.access.extents_file import load_extents
from patchpress.readers.access.fetcher import Array, Fetcher, Handles, Mode
from patchpress.readers.access.filling import Filling
from patchpress.readers.access.plan import Plan
from patchpress.readers.access.reader import RecordReader, _Closed
from patchpress.readers.errors import OptionError, PatchpressError, StoreDamaged
from patchpress.readers.remote.client import Client
from patchpress.readers.remote.range_fetcher import RangeFetcher
from patchpress.readers.remote.remote_file import RemoteFile
from patchpress.readers.remote.small_files import fetch_small
from patchpress.readers.remote.staged import OpensStage, RemoteSource, StagedShards


class RemoteReader(RecordReader):
    """The records of one store at a URL; safe in threads and after a fork, pickled as its client.

    `path` is the cache folder with the store's small files.
    """

    def __init__(
        self, client: Client, *, checksums: bool = False, stage: OpensStage | None = None
    ) -> None:
        """Open a store, as `open_store` says."""
        self._client = client
        self.url = self._client.name
        # With its lock, as long as this lives: else another process might remove the folder.
        self._small = fetch_small(self._client)
        self.path, self.manifest = self._small.folder, self._small.manifest
        self.mode, self.readahead = Mode.AUTO, False
        self.nearby, self._opens_stage = None, stage
        self._prepare(checksums=checksums)
        shards = self.manifest.shards
        extents, reason = load_extents(
            self.path, [shard.path for shard in shards], self.manifest.record_limit
        )
        if extents is None:
            raise StoreDamaged(f"{reason or self.path}: open the store again")
        files = [RemoteFile(self._client, shard, extents.files) for shard in shards]
        copies = None
        if stage is not None:
            source = RemoteSource(client, {file.name: file for file in files})
            self.nearby = stage.from_source(source, shards)
            staged = StagedShards(self.path, shards, self.nearby)
            copies = staged, ExtentsFetcher(self.path, extents, staged, self.mode)
        self._ranges = RangeFetcher(client, extents, files, whole=checksums, copies=copies)
        self._fetcher = self._ranges

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self._client, self._checksums is not None, self._opens_stage)

    @property
    def extents(self) -> Extents | None:
        """Where the records lie."""
        return self._ranges.extents

    def fill(self, plan: Plan, handles: Handles, out: Array) -> None:
        """As that of any reader; records are requested together if they are compared, too."""
        filling = Filling(plan, out)
        self._fetcher.batch(filling, handles, self._fill_one)
        filling.finish()

    def data_files(self) -> NoReturn:
        """Nothing.

        Raises:
            OptionError: there is no file on this machine.
        """
        raise OptionError(
            f"the data files of {self.url} are not on this machine: copy the store to a disk"
        )

    def explanation(self, error: Exception) -> Exception:
        """What is wrong if a record could not be read."""
        if isinstance(error, PatchpressError):
            return error
        return StoreDamaged(
            f"{self.url} cannot be read ({type(error).__name__}: {error}): open the store again"
        )

    def close(self) -> None:
        """End all requests; reading raises StoreUnreadable from now on."""
        self._ranges.close()
        if self.nearby is not None:
            self.nearby.close()
        self._fetcher = cast("Fetcher", _Closed(self.path))


def _reopen(client: Client, checksums: bool, stage: OpensStage | None) -> RemoteReader:
    return RemoteReader(client, checksums=checksums, stage=stage)
