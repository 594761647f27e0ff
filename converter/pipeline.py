"""`convert`: sources -> workers -> writer, with a bounded window between them."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import islice
from pathlib import Path

from converter.description import Description, find
from converter.encode import Recipe
from converter.metadata import Joined, RecordLog, join, split_counts, write_metadata
from converter.options import Codec, ConvertOptions, OnError
from converter.progress import Progress, Silent
from converter.report import Report, report_path
from converter.sources import (
    Patch,
    Roots,
    in_key_order,
    locate,
    pass_over,
    require_patches,
    walks_of,
)
from converter.stream import Outcome, encoding
from converter.tables import Tables, check_tables, partners
from converter.target import claim
from converter.writer import ShardWriter
from readers.errors import PatchError, SourceError
from readers.manifest import (
    DATA,
    METADATA,
    Compression,
    ContentDigest,
    Manifest,
    Modality,
    Shard,
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
    begun = time.monotonic()
    roots = locate(description, source, options.paths, options.modalities)
    conversion = _Conversion(description, options, roots, store, progress or Silent())
    with claim(store, _settings(description, options), overwrite=options.overwrite):
        report = conversion.run()
    report.seconds = time.monotonic() - begun
    if report.remarkable():
        report.write(report_path(store))
    else:
        report_path(store).unlink(missing_ok=True)
    return report


def _settings(description: Description, options: ConvertOptions) -> dict[str, str | int | None]:
    """What decides the bytes of a store, for its manifest."""
    return {
        "dataset": description.dataset.name,
        "layout": str(options.layout),
        "resampling": str(options.resampling),
        "compression": str(options.compression),
        "level": options.level if options.compression is Codec.zstd else None,
        "on_error": str(options.on_error),
        "limit": options.limit,
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

    def run(self) -> Report:
        recipes = self._recipes()
        self.logs = {name: RecordLog() for name in recipes}
        # Workers fork before pyarrow and LMDB are opened here: they need neither.
        with encoding(recipes, self.options.worker_count) as encode:
            tables = self._tables()
            patches, total, ignored = self._patches(tables)
            self.progress.start(total)
            with ShardWriter(self.store) as writer:
                digest = self._write(encode(patches), writer)
                writer.finish()
        joined = join(self.description, self.logs, tables)
        write_metadata(self.store / METADATA, joined.table)
        shard = Shard(DATA, writer.records, (self.store / DATA).stat().st_size, digest)
        manifest = self._manifest(joined, shard)
        write_manifest(self.store, manifest)
        return self._report(joined, manifest, ignored)

    def _recipes(self) -> dict[str, Recipe]:
        options = self.options
        return {
            name: Recipe(
                self.description.modalities[name],
                str(options.layout),
                str(options.resampling),
                str(options.compression),
                options.level,
            )
            for name in self.roots.modalities
        }

    def _tables(self) -> Tables | None:
        if not self.roots.tables:
            return None
        return check_tables(self.description, self.roots.tables)

    def _problem(self, error: PatchError) -> None:
        if self.options.on_error is OnError.stop:
            raise error
        self.skipped.append(str(error))

    def _patches(self, tables: Tables | None) -> tuple[Iterable[Patch], int, dict[str, int]]:
        """The patches to convert, how many, and what else lies in each modality's folder."""
        require_patches(self.description, self.roots)
        walks = walks_of(self.description, self.roots, self._problem)
        wanted = self._limited(walks_of(self.description, self.roots, pass_over), tables)
        total = sum(_in(patch, wanted) for walk in walks.values() for patch in walk)
        ignored = {name: walk.ignored for name, walk in walks.items() if walk.ignored}
        ordered = in_key_order(walks)
        return (patch for patch in ordered if _in(patch, wanted)), total, ignored

    def _limited(
        self, walks: Mapping[str, Iterable[Patch]], tables: Tables | None
    ) -> dict[str, set[str]] | None:
        """Modality -> names, where only the first patches and their partners are asked for.

        Without a table that names partners, each modality gives its own first patches.
        """
        if self.options.limit is None:
            return None
        wanted = {
            name: {patch.name for patch in islice(walk, self.options.limit)}
            for name, walk in walks.items()
        }
        primary = self.description.primary.name
        if tables is None or primary not in wanted:
            return wanted
        by_column = partners(tables, wanted[primary])
        by_column[self.description.identity] |= wanted[primary]
        return {name: by_column[self.description.modalities[name].key_field] for name in wanted}

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
                self.logs[patch.modality].add(patch.name, result)
                digest.add(patch.key, result.checksum)
                nbytes += result.length
            self.progress.advance(len(chunk), nbytes)
        if not writer.records:
            raise SourceError(f"no patch could be converted: {self.skipped[0]}")
        return digest.text()

    def _manifest(self, joined: Joined, shard: Shard) -> Manifest:
        options, description = self.options, self.description
        compression = Compression(
            str(options.compression), options.level if options.compression is Codec.zstd else 0
        )
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
                )
                for name, log in self.logs.items()
                for modality in (description.modalities[name],)
            },
            classes={c: names_ for c, names_ in description.classes.items() if c in names},
            rows=len(joined.table),
            splits=split_counts(description, joined.table, self.logs),
            shards=(shard,),
            options=_settings(description, options),
            software={
                package: version(package)
                for package in ("patchpress", "lmdb", "numpy", "pyarrow", "zstandard")
            },
        )

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
            labelled=bool(self.roots.tables),
            rows_without_pixels=joined.rows_without_pixels,
            without_partner=joined.without_partner,
            without_row=joined.without_row,
            other_ground=joined.other_ground,
            skipped=self.skipped,
            ignored=ignored,
        )


def _in(patch: Patch, wanted: Mapping[str, set[str]] | None) -> bool:
    return wanted is None or patch.name in wanted[patch.modality]
