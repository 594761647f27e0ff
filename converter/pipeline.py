"""`convert`: sources -> workers -> writer, with a bounded window between them."""

import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from converter.annotate import columns_of
from converter.describe import find
from converter.description import Description
from converter.encode import Encoded, Recipe
from converter.enrich import SplitChoice, check_choice
from converter.finish import manifest_of, report_of, save_report, stored_modality
from converter.md5 import check_published
from converter.metadata import Joined, join, write_metadata
from converter.options import ConvertOptions, OnError
from converter.progress import Progress, Silent
from converter.records import RecordLog
from converter.report import Report
from converter.resume import VERSION, begin, pass_over
from converter.roots import Roots, locate
from converter.selection import Selection, select
from converter.sources import Patch
from converter.stream import Batch, encoding
from converter.tables import Tables, check_tables
from converter.target import Asked, Target, claim, writing
from converter.writer import ShardWriter
from readers.errors import PatchError, SourceError
from readers.extents import write_extents
from readers.manifest import (
    DATA,
    METADATA,
    Compression,
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
            published = self._published()
            limit = self.options.limit
            chosen = select(
                *(self.description, self.roots, tables, limit, self._problem),
                *(encode.cells, published),
            )
            with (
                begin(target, self._asked()) as journal,
                ShardWriter(self.store, journal, paged=encode.paged) as writer,
            ):
                self.progress.start(chosen.total)
                left = pass_over(chosen, journal, self._note, self.progress)
                self._write(encode(left), chosen, writer)
                self._take_out_lacking(chosen, writer)
                writer.finish()
        joined = join(
            self.description, self.logs, tables, self.roots.files, _split_choice(self.options)
        )
        shard = Shard(DATA, writer.records, (self.store / DATA).stat().st_size, writer.digest)
        with writing(self.store):
            write_extents(self.store, build(self.store, [DATA], writer.headers))
            write_metadata(self.store / METADATA, joined.table)
            manifest = self._manifest(joined, shard)
            write_manifest(self.store, manifest)
        return self._report(joined, manifest, chosen)

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

    def _published(self) -> dict[str, str] | None:
        """The MD5 that each archive must have, where that is to be checked; tables are at once."""
        if not self.options.check_md5:
            return None
        places = self.roots.modalities.values()
        parts = [part for place in places for archive in place.archives for part in archive.parts]
        return check_published(self.description, parts, self.roots.files.values())

    def _problem(self, error: PatchError) -> None:
        if self.options.on_error is OnError.stop:
            raise error
        self.skipped.append(str(error))

    def _asked(self) -> Asked:
        """All that decides what is stored, to be compared where a conversion goes on."""
        settings = _settings(self.description, self.options)
        # One that stopped at a damaged patch may go on without it.
        del settings["on_error"]
        description = hashlib.sha256(repr(self.description).encode()).hexdigest()
        places = {name: place.paths for name, place in self.roots.modalities.items()}
        places |= {name: (path,) for name, path in self.roots.files.items()}
        paths = {f"path {n}": ", ".join(str(p.resolve()) for p in ps) for n, ps in places.items()}
        return {VERSION: version("patchpress"), **settings, "description": description, **paths}

    def _note(self, patch: Patch, result: Encoded | PatchError) -> None:
        """Note what became of a patch, in this run or in an earlier one."""
        if isinstance(result, PatchError):
            self._problem(result)
        else:
            self.logs[patch.modality].add(patch, result)

    def _write(self, batches: Iterable[Batch], chosen: Selection, writer: ShardWriter) -> None:
        """Store every record in order."""
        for outcomes, release in batches:
            nbytes = 0
            for patch, result, frame in outcomes:
                stored = writer.put(patch, result, frame)
                self._note(patch, stored)
                nbytes += 0 if isinstance(stored, PatchError) else stored.length
            writer.flush(release)
            self.progress.advance(len(outcomes), nbytes, chosen.share)
        if not writer.records:
            raise SourceError(f"no patch could be converted: {self.skipped[0]}")

    def _take_out_lacking(self, chosen: Selection, writer: ShardWriter) -> None:
        """Leave out patches of which only the end of an archive told that they are not whole."""
        lacking = chosen.lacking(self.roots.modalities)
        if not lacking:
            return
        for error in dict.fromkeys(lacking.values()):
            self._problem(error)
        writer.remove(lacking)
        for log in self.logs.values():
            log.leave_out(chosen.incomplete)

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

    def _report(self, joined: Joined, manifest: Manifest, chosen: Selection) -> Report:
        roots = self.roots
        report = report_of(
            self.store, self.description, joined, manifest, roots.files, roots.absent
        )
        if self.options.limit:  # then most rows are left out on purpose
            report.rows_without_pixels = 0
        report.skipped, report.ignored = self.skipped, chosen.ignored
        report.ignored_files = chosen.ignored_files
        return report
