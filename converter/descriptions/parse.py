"""Descriptions: found by name or path, and made from TOML text.

An unknown key, a wrong type or a band that cannot be stacked is a `DescriptionError` with the file
and the key, before anything of the source is read.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from patchpress.converter.descriptions.column_checks import check_columns, with_splits_of_names
from patchpress.converter.descriptions.description import (
    Defect,
    Description,
    ModalitySource,
    Pairs,
    Published,
    Splits,
    fields_of,
)
from patchpress.converter.descriptions.expressions import groups_in
from patchpress.converter.descriptions.parse_labels import parse_labels
from patchpress.converter.descriptions.parse_modality import parse_modality
from patchpress.converter.descriptions.strict import Section
from patchpress.converter.descriptions.table_source import numbers_of_rows, parse_tables
from patchpress.converter.descriptions.toml_files import (
    built_in_files,
    find_file,
    parse_toml,
    read_toml,
)
from patchpress.converter.paths import StrPath
from patchpress.readers.format.manifest import Dataset
from patchpress.readers.format.split_names import STANDARD, known_split, standard_name

FOLDER = "datasets"


def built_in_descriptions() -> dict[str, Path]:
    """The descriptions that come with the package: dataset name -> file, sorted."""
    return built_in_files(FOLDER)


def find_description(name: StrPath) -> Description:
    """A built-in description by name, or one of your own by the path of its TOML file.

    Raises:
        DescriptionError: neither (the message lists the names there are), or as `load_description`.
    """
    return load_description(description_file(name))


def description_file(name: StrPath) -> Path:
    """The TOML file that `find_description` reads.

    Raises:
        DescriptionError: there is no dataset of that name; the message has the nearest.
    """
    return find_file(os.fspath(name), FOLDER, "dataset", built_in_aliases)


def built_in_aliases() -> dict[str, str]:
    """Other names of the descriptions that come with the package -> their names."""
    aliases: dict[str, str] = {}
    for name, path in built_in_descriptions().items():
        head = read_toml(path, "description").section("dataset")
        aliases |= dict.fromkeys(head.strings("aliases", optional=True), name)
    return aliases


def load_description(path: Path) -> Description:
    """Read a description file.

    Raises:
        DescriptionError: no such file, no TOML (with the line), or a wrong key (with its name).
    """
    built_in = path in built_in_descriptions().values()
    return _description(read_toml(path, "description"), limited=not built_in)


def parse_description(text: str, file: str) -> Description:
    """A description from its TOML text; `file` names it in errors.

    Raises:
        DescriptionError: as `load_description`.
    """
    return _description(parse_toml(text, file), limited=True)


def _description(root: Section, *, limited: bool) -> Description:
    head = root.section("dataset")
    names = ("name", "version", "title", "licence", "citation", "url")
    head.strings("aliases", optional=True)  # for `built_in_aliases` alone
    dataset = Dataset(**{key: head.take(key, str) for key in names})
    complete = head.take("complete", bool, default=False)
    untried = head.take("untried", str, "")
    head.end()
    sections = root.section("modalities").sections()
    if not sections:
        raise root.error("modalities", "must describe at least one modality")
    identity = _identity(next(iter(sections.values())))
    modalities = {
        name: parse_modality(name, part, identity, limited=limited)
        for name, part in sections.items()
    }
    description = Description(
        dataset=dataset,
        modalities=modalities,
        identity=identity,
        complete=complete,
        tables=parse_tables(root.section("tables", optional=True)),
        splits=_splits(root.section("splits", optional=True)),
        labels=parse_labels(root.section("labels", optional=True), modalities),
        flags=root.mapping("flags"),
        pairs=_pairs(root.section("pairs", optional=True)),
        published=_published(root.section("published", optional=True), modalities),
        defects=_defects(root),
        md5=_md5(root),
        untried=untried,
    )
    root.end()
    if description.splits and description.splits.rows_of not in ("", *description.tables):
        there = ", ".join(description.tables) or "none"
        raise root.error("splits.rows_of", f"must name a table (there: {there})")
    _check_overlap(modalities, root)
    check_columns(description, root)
    return with_splits_of_names(description)


def _identity(first: Section) -> str:
    """The key column of the first modality; empty if its key is wrong, which is an error later."""
    key = first.peek("key")
    try:
        return fields_of(key)[0]
    except (ValueError, TypeError, IndexError):
        return ""


def _splits(section: Section) -> Splits | None:
    if not section.keys:
        return None
    geographic = section.section("geographic", optional=True)
    groups = section.section("groups", optional=True)
    column = section.take("column", str)
    names = _split_names(section)
    rows_of, first_row = numbers_of_rows(section)
    splits = Splits(
        column=column,
        names=names,
        flagged=section.strings("flagged", optional=True),
        lists=_split_lists(section, names),
        list_suffix=section.take("list_suffix", str, ""),
        rows_of=rows_of,
        first_row=first_row,
        position=geographic.take("position", str, ""),
        tile_m=geographic.number("tile_m", 0.0),
        patch_m=geographic.number("patch_m", 0.0),
        group=groups.take("pattern", str, ""),
        hold_out=groups.strings("hold_out", optional=True),
        validation=groups.strings("validation", optional=True),
    )
    for part in (geographic, groups, section):
        part.end()
    _check_pattern(section, "geographic.position", splits.position, {"x", "y"})
    _check_pattern(section, "groups.pattern", splits.group, {"group"})
    if splits.position and not 0 < splits.patch_m < splits.tile_m:
        problem = "and tile_m must be metres, the tile's the larger"
        raise section.error("geographic.patch_m", problem)
    _check_rules(section, splits)
    return splits


def _split_names(section: Section) -> tuple[str, ...]:
    """The names of splits; one that is another spelling of a standard one becomes that."""
    found: list[str] = []
    for name in section.strings("names"):
        standard = standard_name(name)
        known = known_split(name, found)
        if known is not None:
            raise section.error(
                "names", f"has {name!r}, which means {standard}, twice: give each split once"
            )
        found.append(standard if standard in STANDARD else name)
    return tuple(found)


def _split_lists(section: Section, names: tuple[str, ...]) -> dict[str, str]:
    """Split -> its list, by the names that the splits have in a store."""
    lists: dict[str, str] = {}
    for name, file in section.mapping("lists").items():
        split = known_split(name, names)
        if split is None:
            raise section.error(f"lists.{name}", f"is none of {', '.join(names)}")
        if split in lists:
            raise section.error(f"lists.{name}", f"means {split}, which has a list already")
        lists[split] = section.inside(f"lists.{name}", file)
    return lists


def _check_rules(section: Section, splits: Splits) -> None:
    """Refuse rules that make splits which are not among the names."""
    made = {
        "geographic.position": STANDARD if splits.position else (),
        "groups.hold_out": ("train", "test") if splits.hold_out else (),
        "groups.validation": ("train", "validation") if splits.validation else (),
    }
    for key, names in made.items():
        lacking = [name for name in names if name not in splits.names]
        if lacking:
            raise section.error(key, f"makes the split {lacking[0]!r}, which is not in names")
    for key, groups in (("hold_out", splits.hold_out), ("validation", splits.validation)):
        if groups and not splits.group:
            raise section.error(f"groups.{key}", "needs a pattern that tells the group of a patch")
    both = sorted({*splits.hold_out} & {*splits.validation})
    if both:
        raise section.error("groups.validation", f"names {both[0]!r}, which hold_out has, too")


def _check_pattern(section: Section, key: str, pattern: str, groups: set[str]) -> None:
    """Refuse a pattern that is no regular expression, or lacks one of the groups."""
    if not pattern:
        return
    try:
        missing = groups - groups_in(pattern)
    except re.error as error:
        raise section.error(key, f"is no regular expression: {error}") from None
    if missing:
        raise section.error(key, f"has no group named {sorted(missing)[0]!r}")


def _pairs(section: Section) -> Pairs | None:
    if not section.keys:
        return None
    pairs = Pairs(
        file=section.inside("file", section.take("file", str)),
        identity=section.take("identity", str),
        columns=section.mapping("columns"),
    )
    section.end()
    return pairs


def _published(section: Section, modalities: Mapping[str, ModalitySource]) -> Published | None:
    if not section.keys:
        return None
    counts = section.section("patches")
    patches = {name: _count(counts, name) for name in counts.keys}
    together = _count(section, "together") if "together" in section.keys else 0
    published = Published(section.take("source", str), patches, together)
    section.end()
    for name in patches:
        if name not in modalities:
            raise section.error(f"patches.{name}", f"is none of {', '.join(modalities)}")
    return published


def _count(section: Section, key: str) -> int:
    count = section.take(key, int)
    if count < 1:
        raise section.error(key, f"must be a number of patches, not {count}")
    return count


def _defects(root: Section) -> tuple[Defect, ...]:
    found = []
    for part in root.tables("defects") if "defects" in root.keys else ():
        found.append(
            Defect(
                patches=part.strings("patches"),
                what=part.take("what", str),
                source=part.take("source", str),
                nan=part.take("nan", bool, default=False),
            )
        )
        part.end()
    return tuple(found)


def _md5(root: Section) -> dict[str, str]:
    published = root.mapping("md5")
    for name, digest in published.items():
        if not re.fullmatch("[0-9a-f]{32}", digest):
            raise root.error(f"md5.{name}", f"must be 32 hexadecimal digits, not {digest!r}")
    return published


def _check_overlap(modalities: dict[str, ModalitySource], root: Section) -> None:
    """Refuse two modalities that would take the same files."""
    names = list(modalities)
    for at, name in enumerate(names):
        for other in names[:at]:
            one, two = modalities[other], modalities[name]
            same = set(one.paths) & set(two.paths)
            if one.folder == two.folder and same:
                raise root.error(
                    f"modalities.{name}.path", f"takes the same files as {other}: {same.pop()}"
                )
