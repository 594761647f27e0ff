"""What a conversion is asked to do, and what follows from that before a patch is read."""

from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from patchpress.converter.descriptions.description import Description
from patchpress.converter.descriptions.labels import record_columns
from patchpress.converter.descriptions.parse import (
    built_in_descriptions,
    description_file,
    find_description,
)
from patchpress.converter.encoding.encoder import Recipe
from patchpress.converter.options import ConvertOptions, Layout, Size
from patchpress.converter.paths import StrPath
from patchpress.converter.planning.defects import KnownDefects
from patchpress.converter.planning.work import count_patches
from patchpress.converter.sources.apart import require_apart
from patchpress.converter.sources.locate import SourceParts, locate
from patchpress.converter.sources.md5 import check_published_md5
from patchpress.converter.storage.folder import DecisiveSettings
from patchpress.converter.storage.ownership import VERSION
from patchpress.converter.storage.settings_difference import DESCRIPTION, PATH, REQUEST
from patchpress.converter.storage.writer_choice import check_writer
from patchpress.converter.tables.official import Tables, check_tables, with_splits_of_tables
from patchpress.converter.tables.recordlog import RecordLog
from patchpress.converter.tables.split_column import (
    SplitOptions,
    check_split_options,
    with_standard_splits,
)


class ConversionRequest(NamedTuple):
    """The dataset by its description, where its parts are, and how it is to be stored."""

    description: Description
    options: ConvertOptions
    parts: SourceParts
    dataset: str
    """Name of a built-in description, or the whole path of a TOML file."""
    source: Path
    """The folder with the dataset as published, as a whole path."""

    @property
    def split_options(self) -> SplitOptions:
        """How rows are split."""
        return _split_options(self.options)

    def settings(self) -> dict[str, str | int | float | None]:
        """The options that decide what a store holds, as its manifest names them."""
        options = self.options
        return {
            "dataset": self.description.dataset.name,
            "layout": str(options.layout),
            "resampling": str(options.resampling),
            "compression": str(options.compression),
            "level": options.compression_level or None,
            "on_error": str(options.on_error),
            "limit": options.limit,
            "split": str(options.split),
            "validation": options.validation,
            "seed": options.seed if options.validation else None,
            "nan": str(options.nan),
            "size": str(options.size),
            **(rule.settings() if (rule := options.block_rule) else {}),
        }

    def decisive_settings(self) -> DecisiveSettings:
        """Everything that decides what is stored: an interrupted conversion goes on only with that.

        Its names are those that a user knows, as they appear in sentences about a difference.
        """
        settings = self.settings()
        # A conversion that stopped at a damaged patch may go on without that patch.
        del settings["on_error"]
        return {
            VERSION: version("patchpress"),
            **settings,
            "shards": self.options.shards,
            DESCRIPTION: _content(self.description),
            **{f"{PATH}{name}": _resolved(paths) for name, paths in self.parts.paths.items()},
        }

    def marker_settings(self) -> DecisiveSettings:
        """The decisive settings, and how to ask for the same again: what `merge` needs of it."""
        asked = asdict(self.options)
        for name in ("workers", "overwrite", "on_error", "scheduler", "scratch"):
            del asked[name]
        asked["paths"] = {name: str(path.resolve()) for name, path in asked["paths"].items()}
        request = {"dataset": self.dataset, "source": str(self.source), "options": asked}
        return {**self.decisive_settings(), REQUEST: request}

    def recipes(self) -> dict[str, Recipe]:
        """Modality -> how its records are made."""
        options = self.options
        # If there are tables, `verify` compares their labels with those of the maps.
        tables = self.parts.files_named(self.description.tables)
        rules = self.description.record_rules(has_tables=bool(tables))
        return {
            name: Recipe(
                modality=self.description.modalities[name],
                layout=str(options.layout),
                resampling=str(options.resampling),
                codec=str(options.compression),
                level=options.compression_level,
                nan=str(options.nan),
                size=self.size_rule(name),
                rules=rules,
                splits=self.description.splits,
                identity=self.description.identity,
            )
            for name in self.parts.modalities
        }

    def count_patches(self, name: str, most: int) -> int:
        """How many patches of a modality there are at most, as `work.count_patches` has it."""
        return count_patches(self.description, self.parts, name, most, self.options.limit)

    def size_rule(self, name: str, layout: Layout | None = None) -> str:
        """What happens to a patch of a modality that is not of the usual size: a `Size`.

        `layout` is that of the options if it is not given.
        """
        if self.options.size is not Size.auto:
            return str(self.options.size)
        modality = self.description.modalities[name]
        # Records with a time axis are of one size in both layouts.
        one_size = (layout or self.options.layout) is Layout.stacked or modality.steps
        return modality.size if one_size else str(Size.keep)

    def known_defects(self) -> KnownDefects:
        """Which patches are left out because the data set is known to have them damaged."""
        return KnownDefects(self.description.defects, self.options.nan)

    def empty_logs(self) -> dict[str, RecordLog]:
        """Modality -> a new log for what is known of its records."""
        return {
            name: RecordLog(
                record_columns(recipe.modality, recipe.rules), self.description.identity
            )
            for name, recipe in self.recipes().items()
        }

    def checked_tables(self) -> Tables | None:
        """Open the official tables and check their columns; None if the source has none.

        Raises:
            TableError: a table is not as described.
        """
        paths = self.parts.files_named(self.description.tables)
        return check_tables(self.description, paths) if paths else None

    def check_md5(self) -> dict[str, str] | None:
        """Compare tables and lists with their published MD5, if the user asked for it.

        Returns:
            File name of an archive -> the MD5 that it must have: archives are compared while they
            are read. None if no MD5 is to be checked.

        Raises:
            OptionError, SourceError: as `check_published_md5`.
        """
        if not self.options.check_md5:
            return None
        locations = self.parts.modalities.values()
        archives = [file for each in locations for file in each.archive_files]
        zips = dict.fromkeys(file for each in locations for one in each.zips for file in one.files)
        files = self.parts.files.values()
        return check_published_md5(self.description, archives, files, zips)


def prepare_request(
    dataset: StrPath, source: Path, store: Path, options: ConvertOptions
) -> ConversionRequest:
    """Read the description, find the parts of the source, and check the options against both.

    Args:
        dataset: name of a built-in description, or the path of a TOML file.
        source: the folder with the dataset as published.
        store: the folder to write.
        options: how it is to be stored.

    Raises:
        DescriptionError, OptionError, SourceError: as their names say.
        TargetError: the store does not lie apart from the source.
    """
    description = find_description(dataset)
    check_split_options(description, _split_options(options))
    parts = locate(description, source, options.paths, options.modalities, options.window)
    tables = parts.files_named(description.tables)
    description = with_splits_of_tables(description, tables)
    if options.block_rule is not None:
        description = with_standard_splits(description)
    read = [location.folder for location in parts.modalities.values() if location.folder]
    require_apart(store, [source, *read])
    file = description_file(dataset)
    name = file.stem if file in built_in_descriptions().values() else _resolved([file])
    request = ConversionRequest(description, options, parts, name, source.resolve())
    check_writer(options.writer, request.recipes().values())
    return request


def _split_options(options: ConvertOptions) -> SplitOptions:
    return SplitOptions(
        strategy=str(options.split),
        validation=options.validation,
        seed=options.seed,
        blocks=options.block_rule,
    )


def _content(description: Description) -> dict[str, Any]:
    """All that a description says; not whether it came with this package, or was tried."""
    content = asdict(description)
    del content["untried"]
    for modality in content["modalities"].values():
        del modality["limited"]
    return content


def _resolved(paths: Iterable[Path]) -> str:
    return ", ".join(str(path.resolve()) for path in paths)
