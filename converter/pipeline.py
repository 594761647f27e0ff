"""`convert`: sources -> workers -> writer, with a bounded window between them."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from converter.annotate import columns_of
from converter.describe import find
from converter.description import Description
from converter.encode import Recipe
from converter.enrich import SplitChoice, check_choice
from converter.labels import codes_in
from converter.metadata import Joined, join, split_counts, write_metadata
from converter.options import ConvertOptions, OnError
from converter.progress import Progress, Silent
from converter.records import RecordLog
from converter.report import Report, is_report, report_path
from converter.selection import select
from converter.sources import Roots, locate
from converter.stream import Outcome, encoding
from converter.tables import Tables, check_tables
from converter.target import Target, claim, writing
from converter.writer import ShardWriter
from readers.errors import PatchError, SourceError
from readers.extents import build, write_extents
from readers.manifest import (
    DATA,
    METADATA,
    Compression,
    ContentDigest,
    Manifest,
    Modality,
    Shard,
    file_digest,
    write_manifest,
)


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
    beside = report_path(store)
    with writing(beside):
        if report.remarkable():
            report.write(beside)
        elif is_report(beside):
            beside.unlink()
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
        with encoding(recipes, self.options.worker_count) as encode:
            tables = self._tables()
            limit = self.options.limit
            chosen = select(self.description, self.roots, tables, limit, self._problem)
            target.clear(_settings(self.description, self.options))
            self.progress.start(chosen.total)
            with ShardWriter(self.store) as writer:
                digest = self._write(encode(chosen), writer)
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

    def _write(self, outcomes: Iterable[list[Outcome]], writer: ShardWriter) -> str:
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
            self.progress.advance(len(chunk), nbytes)
        if not writer.records:
            raise SourceError(f"no patch could be converted: {self.skipped[0]}")
        return digest.text()

    def _manifest(self, joined: Joined, shard: Shard) -> Manifest:
        options, description = self.options, self.description
        compression = Compression(str(options.compression), options.zstd_level)
        names = joined.table.column_names
        return Manifest(
            dataset=description.dataset,
            modalities={
                name: Modality(
                    name=name,
                    title=modality.title,
                    kind=modality.kind,
                    key=modality.key,
                    layout=str(options.layout),
                    resampling=str(options.resampling) if modality.interpolated else "nearest",
                    compression=compression,
                    bands=modality.bands,
                    records=len(log),
                    rgb=modality.rgb,
                    any_size=modality.any_size,
                    codes=codes_in(description, name),
                )
                for name, log in self.logs.items()
                for modality in (description.modalities[name],)
            },
            classes={c: names_ for c, names_ in description.classes.items() if c in names},
            rows=len(joined.table),
            splits=split_counts(description, joined.table, self.logs),
            split_column=description.split_column or "split",
            metadata_digest=file_digest(self.store / METADATA),
            shards=(shard,),
            options=_settings(description, options),
            software={
                package: version(package)
                for package in ("patchpress", "lmdb", "numpy", "pyarrow", "zstandard")
            },
        )

    def _labels_from(self, joined: Joined) -> str:
        """The modality whose codes gave labels, if one did."""
        if self.roots.some(self.description.tables):
            return ""
        columns = joined.table.column_names
        rules = self.description.labels.values()
        sources = [r.source for r in rules if r.source in self.logs and r.column in columns]
        return sources[0] if sources else ""

    def _report(self, joined: Joined, manifest: Manifest, ignored: dict[str, int]) -> Report:
        return Report(
            store=str(self.store),
            dataset=manifest.dataset.name,
            layout=str(self.options.layout),
            compression=str(self.options.compression),
            records={name: len(log) for name, log in self.logs.items()},
            bytes=sum(shard.bytes for shard in manifest.shards),
            rows=manifest.rows,
            splits={name: dict(counts) for name, counts in manifest.splits.items()},
            absent=self.roots.absent,
            labelled=any(column in joined.table.column_names for column in manifest.classes),
            labels_from=self._labels_from(joined),
            listed_without_pixels=joined.listed_without_pixels,
            # With a limit, most rows are left out on purpose.
            rows_without_pixels=0 if self.options.limit else joined.rows_without_pixels,
            without_partner=joined.without_partner,
            without_row=joined.without_row,
            other_ground=joined.other_ground,
            skipped=self.skipped,
            ignored=ignored,
        )
