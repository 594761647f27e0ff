"""`convert`: sources -> workers -> writer, with a bounded window between them."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from converter.annotate import columns_of
from converter.describe import find
from converter.description import Description
from converter.encode import Recipe
from converter.enrich import SplitChoice, check_choice
from converter.finish import manifest_of, report_of, save_report, stored_modality
from converter.metadata import Joined, join, write_metadata
from converter.options import ConvertOptions, OnError
from converter.progress import Progress, Silent
from converter.records import RecordLog
from converter.report import Report
from converter.roots import Roots, locate
from converter.selection import Selection, select
from converter.stream import Outcome, encoding
from converter.tables import Tables, check_tables
from converter.target import Target, claim, writing
from converter.writer import ShardWriter
from readers.errors import PatchError, SourceError
from readers.extents import write_extents
from readers.manifest import (
    DATA,
    METADATA,
    Compression,
    ContentDigest,
    Manifest,
    Shard,
    write_manifest,
)
from readers.scan import build


def convert(
    dataset: str,
    source: str | Path,
    store: str | Path,
    options: ConvertOptions | None = None,
    progress: Progress | None = None,
) -> Report:
    """Convert a published dataset to a store; what ``patchpress convert`` calls.

    Args:
        dataset: name of a built-in description, or the path of a TOML file.
        source: folder that holds the dataset as published.
        store: folder to write; it is a store once its manifest.json is there.
        options: how to store it, and what to do with damaged patches.
        progress: told of every chunk of patches.

    Raises:
        DescriptionError, OptionError, SourceError, PatchError, TableError, TargetError: as their
            names say; the store is left without a manifest.
    """
    options = options or ConvertOptions()
    source, store = Path(source), Path(store)
    description = find(dataset)
    check_choice(description, _split_choice(options))
    begun = time.monotonic()
    roots = locate(description, source, options.paths, options.modalities)
    conversion = _Conversion(description, options, roots, store, progress or Silent())
    with claim(store, overwrite=options.overwrite) as target:
        report = conversion.run(target)
    report.seconds = time.monotonic() - begun
    save_report(report, store)
    return report


def _split_choice(options: ConvertOptions) -> SplitChoice:
    return SplitChoice(str(options.split), options.validation, options.seed)


def _settings(
    description: Description, options: ConvertOptions
) -> dict[str, str | int | float | None]:
    """What decides the bytes of a store, for its manifest."""
    return {
        "dataset": description.dataset.name,
        "layout": str(options.layout),
        "resampling": str(options.resampling),
        "compression": str(options.compression),
        "level": options.zstd_level or None,
        "on_error": str(options.on_error),
        "limit": options.limit,
        "split": str(options.split),
        "validation": options.validation,
        "seed": options.seed if options.validation else None,
        "nan": str(options.nan),
    }


@dataclass
class _Conversion:
    """One run: what it was asked, and what it has stored so far."""

    description: Description
    options: ConvertOptions
    roots: Roots
    store: Path
    progress: Progress
    logs: dict[str, RecordLog] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    def run(self, target: Target) -> Report:
        recipes = self._recipes()
        self.logs = {
            name: RecordLog(columns_of(recipe.modality, recipe.rules), self.description.identity)
            for name, recipe in recipes.items()
        }
        # Workers fork before pyarrow and LMDB are opened here: they need neither.
        with encoding(recipes, self.options.worker_count, self.roots.packed) as encode:
            tables = self._tables()
            limit = self.options.limit
            chosen = select(
                self.description, self.roots, tables, limit, self._problem, encode.cells
            )
            target.clear(_settings(self.description, self.options))
            self.progress.start(chosen.total)
            with ShardWriter(self.store) as writer:
                digest = self._write(encode(chosen), chosen, writer)
                writer.finish()
        joined = join(
            self.description, self.logs, tables, self.roots.files, _split_choice(self.options)
        )
        shard = Shard(DATA, writer.records, (self.store / DATA).stat().st_size, digest)
        with writing(self.store):
            write_extents(self.store, build(self.store, [DATA], writer.headers))
            write_metadata(self.store / METADATA, joined.table)
            manifest = self._manifest(joined, shard)
            write_manifest(self.store, manifest)
        return self._report(joined, manifest, chosen.ignored)

    def _recipes(self) -> dict[str, Recipe]:
        options = self.options
        # Labels are derived from maps only where no table gives them; `verify` compares the two.
        tables = self.roots.some(self.description.tables)
        rules = tuple(r for r in self.description.labels.values() if not (tables and r.rule))
        return {
            name: Recipe(
                self.description.modalities[name],
                str(options.layout),
                str(options.resampling),
                str(options.compression),
                options.zstd_level,
                str(options.nan),
                rules,
            )
            for name in self.roots.modalities
        }

    def _tables(self) -> Tables | None:
        paths = self.roots.some(self.description.tables)
        return check_tables(self.description, paths) if paths else None

    def _problem(self, error: PatchError) -> None:
        if self.options.on_error is OnError.stop:
            raise error
        self.skipped.append(str(error))

    def _write(
        self, outcomes: Iterable[list[Outcome]], chosen: Selection, writer: ShardWriter
    ) -> str:
        """Store every record in order; the digest over keys and checksums in key order."""
        digest = ContentDigest()
        for chunk in outcomes:
            nbytes = 0
            for patch, result, record in chunk:
                try:
                    if isinstance(result, PatchError):
                        raise result
                    writer.put(patch.key, record)
                except PatchError as error:
                    self._problem(error)
                    continue
                self.logs[patch.modality].add(patch, result)
                digest.add(patch.key, result.checksum)
                nbytes += result.length
            self.progress.advance(len(chunk), nbytes, chosen.share)
        if not writer.records:
            raise SourceError(f"no patch could be converted: {self.skipped[0]}")
        return digest.text()

    def _manifest(self, joined: Joined, shard: Shard) -> Manifest:
        options, description = self.options, self.description
        compression = Compression(str(options.compression), options.zstd_level)
        modalities = {
            name: stored_modality(
                *(description, name, str(options.layout), str(options.resampling)),
                *(compression, len(log)),
            )
            for name, log in self.logs.items()
        }
        settings = _settings(description, options)
        return manifest_of(self.store, description, joined, modalities, shard, settings)

    def _report(self, joined: Joined, manifest: Manifest, ignored: dict[str, int]) -> Report:
        roots = self.roots
        report = report_of(
            self.store, self.description, joined, manifest, roots.files, roots.absent
        )
        if self.options.limit:  # then most rows are left out on purpose
            report.rows_without_pixels = 0
        report.skipped, report.ignored = self.skipped, ignored
        return report
