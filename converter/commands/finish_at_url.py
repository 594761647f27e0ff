"""`merge URL`: the shards that were sent to a URL become a store; their data stays there."""

import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from patchpress.converter.commands.finished_before import FinishedBefore
from patchpress.converter.commands.join_shards import finish, request_of
from patchpress.converter.planning.request import ConversionRequest
from patchpress.converter.progress import Progress
from patchpress.converter.storage.report import Report
from patchpress.converter.storage.shard_file import FinishedShard
from patchpress.converter.text import number_ranges
from patchpress.converter.transfer.shards_at_url import ShardsAtUrl
from patchpress.readers.errors import StoreDamaged, StoreUnfinished
from patchpress.readers.format.manifest import Manifest
from patchpress.readers.showing import plain_json


def finish_at_url(url: str, progress: Progress) -> Report | FinishedBefore:
    """Finish a store at a URL, as `finish_store` does on a disk.

    Raises:
        StoreMissing, StoreUnfinished, StoreDamaged, SourceError, TableError, TargetError: as
            `finish_store`.
        OptionError, StoreUnreadable: a URL that cannot be, or is not answered.
    """
    target, begun = ShardsAtUrl(url), time.monotonic()
    manifest = target.manifest()
    if manifest is not None:
        end_of_finished(target, manifest)
        return FinishedBefore(target.name, len(manifest.shards))
    settings = target.settings_to_finish()
    with tempfile.TemporaryDirectory(prefix="patchpress-") as folder:
        store = Path(folder)
        request = request_of(store, settings, target.name)
        report = published(target, store, request, progress)
    report.seconds = time.monotonic() - begun
    return report


def end_of_finished(target: ShardsAtUrl, manifest: Manifest) -> None:
    """Remove what a run left that was killed after it had put the manifest; look at data files.

    Raises:
        StoreDamaged: as `require_data_at`.
        StoreError, TargetError: it cannot be read or written.
    """
    if target.settings() is not None:
        target.remove_working_files(len(manifest.shards))
    require_data_at(target, manifest)


def require_data_at(target: ShardsAtUrl, manifest: Manifest) -> None:
    """Make sure that a finished store has its data files, as long as its manifest says.

    Raises:
        StoreDamaged: one is absent, or has another length.
        StoreError: it cannot be read.
    """
    for shard in manifest.shards:
        known = target.client.find(shard.path)
        if known is None or known.size != shard.bytes:
            size = "no" if known is None else f"{known.size:,}"
            raise StoreDamaged(
                f"{target.name}/{shard.path} has {size} bytes where the manifest promises "
                f"{shard.bytes:,}: copy the store there again, or convert with --overwrite"
            )


def published(
    target: ShardsAtUrl, store: Path, request: ConversionRequest, progress: Progress
) -> Report:
    """Put the shards at a URL together, by way of an empty local folder.

    Raises:
        StoreError, SourceError, TableError, TargetError: as `finish_at_url`.
    """
    begun = time.monotonic()
    shards = _all_shards(target, request)
    target.fetch(shards, store)
    report = finish(store, request, progress, shards)
    report.store, report.seconds = target.name, time.monotonic() - begun
    target.publish(store, _as_file(report) if report.remarkable() else None)
    target.remove_working_files(len(shards))
    return report


def _as_file(report: Report) -> bytes:
    text = json.dumps(asdict(report), indent=1, ensure_ascii=False)
    return plain_json(f"{text}\n").encode()


def _all_shards(target: ShardsAtUrl, request: ConversionRequest) -> list[FinishedShard]:
    there = target.there(request.decisive_settings())
    missing = [number for number, shard in there.items() if shard is None]
    if missing:
        raise StoreUnfinished(
            f"{target.name} lacks {len(missing):,} of {len(there):,} shards "
            f"({number_ranges(missing)}): make them first; `patchpress missing {target.name}` "
            "prints their numbers"
        )
    return [shard for shard in there.values() if shard is not None]
