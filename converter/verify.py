"""`verify`: every record of a store read back, alone or against the source it was made from.

Pixels of the source are decoded by libtiff (imagecodecs) or GDAL here, never by the reader that
converting uses: two ways that agree on every pixel are worth more than one.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import xxhash

from converter.description import Description, ModalitySource, find
from converter.executors import SerialExecutor, process_pool
from converter.options import usable_cpus
from converter.plain import read_file
from converter.progress import Progress, Silent
from converter.raster import Array, decode_imagecodecs
from converter.resample import resample_into
from converter.sources import Patch, in_key_order, locate, require_patches, walks_of
from readers.errors import KeyMissing, PatchError, StoreDamaged
from readers.manifest import ContentDigest, Modality
from readers.record import ZSTD_MAGIC, Decompressor, form_in
from readers.store import Store, open_store
from readers.table import checksum_column, record_keys

SHOWN = 20
CHUNK = 32  # patches a task


@dataclass
class Verdict:
    """What `verify` found; `good` if nothing is wrong."""

    store: str
    records: int = 0
    compared: int = 0
    """Records compared with the source, pixel by pixel."""
    problems: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether all is as it should be."""
        return not self.problems

    def text(self) -> str:
        """The verdict for people."""
        state = "good" if self.good else f"BAD, {len(self.problems):,} problems"
        lines = [f"{self.store}: {state}", f"  records read back         {self.records:,}"]
        if self.compared:
            lines.append(f"  compared with the source  {self.compared:,}")
        lines += [f"  {problem}" for problem in self.problems[:SHOWN]]
        if len(self.problems) > SHOWN:
            lines.append(f"  … and {len(self.problems) - SHOWN:,} more")
        return "\n".join(lines)


def verify(
    store: str | Path,
    against: str | Path | None = None,
    paths: Mapping[str, Path] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Verdict:
    """Read every record of a store back: count, checksum, form; with a source, every pixel.

    Raises:
        StoreError: there is no store to verify, or its files are not as long as they should be.
        SourceError: the source is not the dataset that the store was made from.
    """
    opened = open_store(store)
    progress = progress or Silent()
    verdict = Verdict(str(store))
    if against is None:
        _read_back(opened, verdict, progress)
        return verdict
    description = find(opened.manifest.dataset.name)
    names = tuple(opened.manifest.modalities)
    roots = locate(description, Path(against), paths or {}, names)
    require_patches(description, roots)
    count = usable_cpus() if workers is None else workers
    # Workers fork before this process opens the store's LMDB environment.
    executor = process_pool(count, _start, Path(store), description) if count else SerialExecutor()
    if not count:
        _start(Path(store), description)
    try:
        walks = walks_of(description, roots, lambda error: verdict.problems.append(str(error)))
        total = sum(1 for walk in walks.values() for _ in walk)
        progress.start(len(opened) + total)
        seen = dict.fromkeys(names, 0)
        for patches, problems in _compare_all(executor, in_key_order(walks), 4 * max(count, 1)):
            verdict.problems += problems
            verdict.compared += len(patches)
            for patch in patches:
                seen[patch.modality] += 1
            progress.advance(len(patches), 0)
    finally:
        executor.shutdown(cancel_futures=True)
    _read_back(opened, verdict, progress)
    for name, modality in opened.manifest.modalities.items():
        if seen[name] < modality.records:
            lacking = modality.records - seen[name]
            verdict.problems.append(f"{lacking:,} {name} records have no patch in the source")
    return verdict


def _read_back(store: Store, verdict: Verdict, progress: Progress) -> None:
    """Every record in key order: its form, and the digest over all of them."""
    if not verdict.compared:
        progress.start(len(store))
    forms = {m.form.header: m for m in store.manifest.modalities.values()}
    counts = dict.fromkeys(store.manifest.modalities, 0)
    digest = ContentDigest()
    checksums: list[int] = []
    for key, value in _values(store.path):
        checksum = xxhash.xxh3_64_intdigest(value)
        digest.add(key, checksum)
        checksums.append(checksum)
        problem = _wrong_form(value, forms, counts)
        if problem:
            verdict.problems.append(f"record {key}: {problem}")
        verdict.records += 1
        progress.advance(1, len(value))
    for name, modality in store.manifest.modalities.items():
        if counts[name] != modality.records:
            verdict.problems.append(
                f"{counts[name]:,} {name} records where the manifest counts {modality.records:,}"
            )
    if digest.text() != store.manifest.shards[0].digest:
        verdict.problems.append(
            "keys and checksums differ from the digest in the manifest: convert again"
        )
    _compare_with_table(store, np.sort(np.array(checksums, np.uint64)), verdict)


def _values(path: Path) -> Iterator[tuple[str, memoryview]]:
    with (
        lmdb.open(str(path), readonly=True, lock=False, readahead=True) as environment,
        environment.begin(buffers=True) as transaction,
    ):
        for key, value in transaction.cursor():
            yield bytes(key).decode(), value


_decompress = Decompressor()


def _wrong_form(
    value: memoryview, forms: Mapping[bytes, Modality], counts: dict[str, int]
) -> str | None:
    """What is wrong with a record's bytes; a right one is counted under its modality."""
    try:
        zstd = bytes(value[:4]) == ZSTD_MAGIC
        form = form_in(_decompress(value) if zstd else value)
        modality = forms[form.header]
    except StoreDamaged as error:
        return str(error)
    except KeyError:
        return "its tensors are not those of any modality in the manifest"
    counts[modality.name] += 1
    if zstd != (modality.compression.codec == "zstd"):
        return f"it is {'' if zstd else 'not '}compressed, against the manifest"
    return None


def _compare_with_table(store: Store, stored: Array, verdict: Verdict) -> None:
    """Checksums of metadata.parquet against those of the records; names what differs."""
    columns = [checksum_column(name) for name in store.manifest.modalities]
    table = store.table(columns=columns)
    listed = [[int(text, 16) for text in table[c].drop_null().to_pylist()] for c in columns]
    if np.array_equal(np.sort(np.array(list(chain(*listed)), np.uint64)), stored):
        return
    with (
        lmdb.open(str(store.path), readonly=True, lock=False) as environment,
        environment.begin(buffers=True) as transaction,
    ):
        for name, checksums in zip(store.manifest.modalities, listed, strict=True):
            keys = record_keys(store.path, store.manifest, name)
            for key, checksum in zip(keys, checksums, strict=True):
                value = transaction.get(key.encode())
                if value is None:
                    verdict.problems.append(f"record {key} is in metadata.parquet, but not stored")
                elif xxhash.xxh3_64_intdigest(value) != checksum:
                    verdict.problems.append(f"record {key} differs from its checksum")


_store: Store | None = None
_sources: dict[str, ModalitySource] = {}


def _start(path: Path, description: Description) -> None:
    global _store  # a process pool hands state to its tasks no other way
    _store = open_store(path)
    _sources.update(description.modalities)


def _compare_all(
    executor: Executor, patches: Iterator[Patch], window: int
) -> Iterator[tuple[list[Patch], list[str]]]:
    waiting: list[tuple[list[Patch], Any]] = []
    while chunk := list(islice(patches, CHUNK)):
        waiting.append((chunk, executor.submit(_compare, chunk)))
        if len(waiting) >= window:
            done, future = waiting.pop(0)
            yield done, future.result()
    for done, future in waiting:
        yield done, future.result()


def _compare(patches: Iterable[Patch]) -> list[str]:
    """A sentence for each patch whose record is not what its files say."""
    if _store is None:
        raise RuntimeError("the worker was not started")
    problems = []
    for patch in patches:
        try:
            problem = _difference(_store, _sources[patch.modality], patch)
        except KeyMissing:
            problem = "is not stored"
        except (PatchError, StoreDamaged) as error:
            problem = f"cannot be compared: {error}"
        if problem:
            problems.append(f"{patch.folder} {problem}")
    return problems


def _difference(store: Store, source: ModalitySource, patch: Patch) -> str | None:
    """What differs between a patch's files and its record."""
    stored = store.read(patch.key)
    modality = store.manifest.modalities[patch.modality]
    folder = os.open(patch.folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for index, band in enumerate(source.bands):
            name = f"{patch.before}{band.name}{patch.after}" if patch.after else patch.before
            pixels = decode_imagecodecs(read_file(name, folder))[0]
            if pixels.shape != band.shape or pixels.dtype != stored.dtype:
                return f"{name} is {pixels.dtype} {pixels.shape}"
            expected = np.empty_like(stored[index])
            resample_into(np.ascontiguousarray(pixels), expected, modality.resampling)
            # Bytes, not values: NaN must equal NaN, and -0.0 must not equal 0.0.
            if expected.tobytes() != stored[index].tobytes():
                differing = int((expected != stored[index]).sum())
                return f"{name} differs from the record in {differing:,} pixels"
    finally:
        os.close(folder)
    return None
