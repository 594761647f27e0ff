"""TOML text to a `Description`, strictly: what is unknown, wrong or missing is named."""

import re
import tomllib
from pathlib import Path

from patchpress.converter.descriptions.classes import load as load_nomenclature
from patchpress.converter.descriptions.description import (
    BAND,
    GROUND_TOLERANCE,
    KINDS,
    Description,
    LabelRule,
    ModalitySource,
    Pairs,
    Sidecar,
    Splits,
    fields_of,
)
from patchpress.converter.descriptions.patterns import PathPattern
from patchpress.converter.descriptions.strict import Section
from patchpress.readers.errors import DescriptionError, PatchpressError
from patchpress.readers.format.manifest import Band, Dataset
from patchpress.readers.format.record import SAFETENSORS_DTYPES

MAP_RULES = ("present", "single", "multi", "fractions")
RULES = ("mapped", *MAP_RULES)


def load(path: Path) -> Description:
    """Read a description file.

    Raises:
        DescriptionError: no such file, no TOML (with the line), or a wrong key (with its name).
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DescriptionError(f"{path} cannot be read as a description: {error}") from None
    return parse(text, path.name)


def parse(text: str, file: str) -> Description:
    """A description from its TOML text; `file` names it in errors.

    Raises:
        DescriptionError: as `load`.
    """
    try:
        root = Section(tomllib.loads(text), "", file)
    except tomllib.TOMLDecodeError as error:
        raise DescriptionError(f"{file}: {error}") from None
    head = root.section("dataset")
    names = ("name", "version", "title", "licence", "citation", "url")
    dataset = Dataset(**{key: head.take(key, str) for key in names})
    complete = head.take("complete", bool, default=False)
    head.end()
    sections = root.section("modalities").sections()
    if not sections:
        raise root.error("modalities", "must describe at least one modality")
    identity = _identity(next(iter(sections.values())))
    modalities = {name: _modality(name, part, identity) for name, part in sections.items()}
    description = Description(
        dataset=dataset,
        modalities=modalities,
        identity=identity,
        complete=complete,
        tables=_tables(root.section("tables", optional=True)),
        splits=_splits(root.section("splits", optional=True)),
        labels=_labels(root.section("labels", optional=True), modalities),
        flags=root.mapping("flags"),
        pairs=_pairs(root.section("pairs", optional=True)),
        md5=_md5(root),
    )
    root.end()
    _check_overlap(modalities, root)
    for name in description.files():
        if name in modalities:
            raise DescriptionError(
                f"{file}: a file is called as the modality {name!r}: give one of them another name"
            )
    return description


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


def _identity(first: Section) -> str:
    """The key column of the first modality."""
    key = first.peek("key")
    try:
        return fields_of(key)[0]
    except (ValueError, TypeError, IndexError):
        return ""  # whatever is wrong with the key, its modality says


def _tables(section: Section) -> dict[str, str]:
    tables = {}
    for name, part in section.sections().items():
        tables[name] = part.take("file", str)
        part.end()
    return tables


def _splits(section: Section) -> Splits | None:
    if not section.keys:
        return None
    geographic = section.section("geographic", optional=True)
    groups = section.section("groups", optional=True)
    splits = Splits(
        column=section.take("column", str),
        names=section.strings("names"),
        lists=section.mapping("lists"),
        list_suffix=section.take("list_suffix", str, ""),
        position=geographic.take("position", str, ""),
        tile_m=geographic.number("tile_m", 0.0),
        patch_m=geographic.number("patch_m", 0.0),
        group=groups.take("pattern", str, ""),
        hold_out=groups.strings("hold_out", optional=True),
    )
    for part in (geographic, groups, section):
        part.end()
    _check_pattern(section, "geographic.position", splits.position, {"x", "y"})
    _check_pattern(section, "groups.pattern", splits.group, {"group"})
    if splits.position and not 0 < splits.patch_m < splits.tile_m:
        raise section.error(
            "geographic.patch_m", "and tile_m must be metres, the tile's the larger"
        )
    for name in splits.lists:
        if name not in splits.names:
            raise section.error(f"lists.{name}", f"is none of {', '.join(splits.names)}")
    return splits


def _check_pattern(section: Section, key: str, pattern: str, groups: set[str]) -> None:
    if not pattern:
        return
    try:
        missing = groups - re.compile(pattern).groupindex.keys()
    except re.error as error:
        raise section.error(key, f"is no regular expression: {error}") from None
    if missing:
        raise section.error(key, f"has no group named {sorted(missing)[0]!r}")


def _pairs(section: Section) -> Pairs | None:
    if not section.keys:
        return None
    file, identity = section.take("file", str), section.take("identity", str)
    pairs = Pairs(file, identity, section.mapping("columns"))
    section.end()
    return pairs


def _labels(section: Section, modalities: dict[str, ModalitySource]) -> dict[str, LabelRule]:
    rules: dict[str, LabelRule] = {}
    for column, part in section.sections().items():
        nomenclature = part.take("nomenclature", str, "")
        if nomenclature:
            try:
                classes = load_nomenclature(nomenclature).names
            except PatchpressError as error:
                raise part.error("nomenclature", f"is unknown ({error})") from None
        else:
            classes = part.strings("classes")
        rule, source = part.take("rule", str, ""), part.take("from", str, "")
        part.end()
        if rule and rule not in RULES:
            raise part.error("rule", f"must be one of {', '.join(RULES)}, not {rule!r}")
        if bool(rule) != bool(source):
            raise part.error("from", "and rule belong together")
        if rule in MAP_RULES and (source not in modalities or modalities[source].interpolated):
            raise part.error("from", f"must name a modality of kind classes, not {source!r}")
        if rule in MAP_RULES and modalities[source].any_size:
            raise part.error("from", f"must name a modality of one size, and {source} has any_size")
        if rule == "mapped" and source not in rules:
            raise part.error("from", f"must name a label column above, not {source!r}")
        if rule and not nomenclature:
            raise part.error("nomenclature", "is missing: the rule needs its codes")
        rules[column] = LabelRule(column, tuple(classes), nomenclature, rule, source)
    return rules


def _modality(name: str, section: Section, identity: str) -> ModalitySource:
    entries = section.take("bands", list)
    bands = tuple(
        band
        for index, entry in enumerate(entries)
        for band in _bands(Section(entry, f"{section.path}.bands[{index}]", section.file))
    )
    key = _braces(section.take("key", str), "key", section)
    if len(fields_of(key)) != 1:
        raise section.error("key", "must hold one column of the table, in braces")
    column = fields_of(key)[0]
    patch = _braces(section.take("name", str, f"{{{column}}}"), "name", section)
    row = _braces(section.take("patch", str, patch if column == identity else ""), "patch", section)
    folder = section.take("folder", str)
    archives = section.strings("archives", optional=True)
    modality = ModalitySource(
        name=name,
        title=section.take("title", str),
        kind=section.take("kind", str),
        folder=folder,
        archives=archives or ((folder,) if folder != "." else ()),
        paths=tuple(_braces(p, "path", section) for p in section.string_or_strings("path")),
        key=key,
        patch=patch,
        identity=row or None,
        bands=bands,
        fields=section.mapping("fields"),
        rgb=section.strings("rgb", optional=True),
        columns=section.mapping("columns"),
        sidecar=_sidecar(section.section("sidecar", optional=True)),
        alone=section.take("alone", bool, default=False),
        any_size=section.take("any_size", bool, default=False),
        ground_tolerance=section.number("ground_tolerance", GROUND_TOLERANCE),
    )
    section.end()
    _check_modality(modality, section)
    _check_fields(modality, section)
    return modality


def _sidecar(section: Section) -> Sidecar | None:
    if not section.keys:
        return None
    sidecar = Sidecar(section.take("file", str), section.mapping("columns"))
    section.end()
    return sidecar


def _bands(section: Section) -> list[Band]:
    """The bands of one entry: one, or with ``count`` so many alike, numbered from 1."""
    gsd = section.number("gsd")
    shape = section.take("shape", list)
    count = section.take("count", int, 0)
    if gsd <= 0:
        raise section.error("gsd", f"must be metres above 0, not {gsd}")
    if len(shape) != 2 or not all(type(n) is int and n > 0 for n in shape):
        raise section.error("shape", f"must be [height, width] in pixels, not {shape!r}")
    if count < 0:
        raise section.error("count", f"must be how many bands there are, not {count}")
    name, dtype = section.take("name", str), section.take("dtype", str)
    section.end()
    if dtype not in SAFETENSORS_DTYPES:
        raise section.error("dtype", f"must be a NumPy dtype such as uint16, not {dtype!r}")
    names = [f"{name}{number}" for number in range(1, count + 1)] if count else [name]
    return [Band(name, gsd, dtype, (shape[0], shape[1])) for name in names]


def _check_modality(modality: ModalitySource, section: Section) -> None:
    bands = modality.bands
    if not bands:
        raise section.error("bands", "must list at least one band")
    names = [band.name for band in bands]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise section.error("bands", f"names {doubled!r} twice")
    together = [path for path in modality.paths if f"{{{BAND}}}" not in path]
    if together and len({band.shape for band in bands}) > 1:
        raise section.error("path", "has no {band}, though its bands differ in shape")
    if len({band.dtype for band in bands}) > 1:
        raise section.error("bands", "must have one dtype: they are stacked into one array")
    finest = max(band.shape for band in bands)
    for band in bands:
        if finest[0] % band.shape[0] or finest[1] % band.shape[1]:
            raise section.error(
                "bands", f"has {band.name!r} of {band.shape}, which does not divide {finest}"
            )
    if modality.rgb and (len(modality.rgb) != 3 or set(modality.rgb) - set(names)):
        raise section.error("rgb", f"must name three of the bands, not {list(modality.rgb)!r}")
    if modality.kind not in KINDS:
        raise section.error("kind", f"must be one of {', '.join(KINDS)}, not {modality.kind!r}")


def _check_fields(modality: ModalitySource, section: Section) -> None:
    for name, pattern in modality.fields.items():
        try:
            re.compile(pattern)
        except re.error as error:
            raise section.error(f"fields.{name}", f"is no regular expression: {error}") from None
    known = set(modality.fields) | {
        group for pattern in modality.fields.values() for group in re.compile(pattern).groupindex
    }
    for path in modality.paths:
        _require_fields(path, "path", set(modality.fields) | {BAND}, section)
        if BAND in fields_of(path.rpartition("/")[0]):
            raise section.error("path", "may have {band} in the file's name only")
        try:
            PathPattern(path, modality.fields)
        except re.error as error:
            raise section.error("path", f"cannot be made a regular expression: {error}") from None
    if modality.patch == f"{{{modality.key_column}}}":
        # Without a name of its own a patch is called what stands in the key's braces.
        _require_fields(modality.patch, "key", known, section)
    _require_fields(modality.patch, "name", known, section)
    _require_fields(modality.identity or "", "patch", known, section)
    for column, template in modality.columns.items():
        _require_fields(template, f"columns.{column}", known, section)


def _require_fields(template: str, key: str, known: set[str], section: Section) -> None:
    for name in fields_of(template):
        if name not in known:
            raise section.error(key, f"has the field {{{name}}}, which fields do not define")


def _braces(template: str, key: str, section: Section) -> str:
    """A template whose braces are in order."""
    try:
        fields_of(template)
    except ValueError as error:
        raise section.error(key, f"has braces that do not match ({error})") from None
    return template


def built_in() -> dict[str, Path]:
    """The descriptions that come with the package: dataset name -> file."""
    folder = Path(__file__).with_name("datasets")
    return {path.stem.replace("_", "-"): path for path in sorted(folder.glob("*.toml"))}


def find(name: str) -> Description:
    """A built-in description by name, or one of your own by the path of its TOML file.

    Raises:
        DescriptionError: neither; the message lists the names there are.
    """
    known = built_in()
    if name in known:
        return load(known[name])
    if name.endswith(".toml"):
        return load(Path(name))
    raise DescriptionError(
        f"there is no dataset {name!r}; choose {', '.join(known)}, or give a .toml description"
    )
