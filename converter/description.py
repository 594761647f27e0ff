"""Dataset descriptions: what a published dataset looks like on disk, as strict TOML.

A description is data. An unknown key, a wrong type or a band that cannot be stacked is a
`DescriptionError` that names the file and the key, before anything of the source is read.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from string import Formatter
from typing import Any, TypeVar

from readers.errors import DescriptionError
from readers.manifest import Band, Dataset
from readers.record import SAFETENSORS_DTYPES

T = TypeVar("T")
KINDS = ("image", "classes")
BAND = "band"  # the field of a path that stands for the band's name


@dataclass(frozen=True, slots=True)
class ModalitySource:
    """One modality on disk.

    `path` is relative to `folder`; a part in braces is a field, matched by its regular expression
    in `fields` (named groups in it are fields, too). `key` is the record's name, made of one field,
    which is also the table column that names the patch. A modality of kind `classes` holds codes
    and is never interpolated.
    """

    name: str
    title: str
    kind: str
    folder: str
    path: str
    key: str
    bands: tuple[Band, ...]
    fields: Mapping[str, str]
    rgb: tuple[str, ...] = ()
    """The bands that show as red, green and blue, where there are such."""

    @property
    def key_field(self) -> str:
        """The field, and table column, that names its records."""
        return _fields_of(self.key)[0]

    @property
    def interpolated(self) -> bool:
        """Whether coarser bands may be interpolated when they are stacked."""
        return self.kind != "classes"


@dataclass(frozen=True, slots=True)
class Description:
    """One published dataset: modalities, tables, splits and classes."""

    dataset: Dataset
    modalities: Mapping[str, ModalitySource]
    tables: Mapping[str, str] = field(default_factory=dict)
    """Table name -> file name under the source."""
    split_column: str | None = None
    split_names: tuple[str, ...] = ()
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Label column -> class names in the official order."""

    @property
    def primary(self) -> ModalitySource:
        """The modality whose key field is the identity of a metadata row."""
        return next(iter(self.modalities.values()))

    @property
    def identity(self) -> str:
        """The column that names a row."""
        return self.primary.key_field


class _Section:
    """One TOML table, taken apart key by key; what is left over at the end is unknown."""

    def __init__(self, content: Any, path: str, file: str) -> None:
        self.path, self.file = path, file
        if not isinstance(content, dict):
            raise DescriptionError(f"{file}: [{path}] must be a table, not {content!r}")
        self._left: dict[str, Any] = dict(content)

    def fail(self, key: str, problem: str) -> DescriptionError:
        where = f"{self.path}.{key}" if self.path else key
        return DescriptionError(f"{self.file}: key {where!r} {problem}")

    def take(self, key: str, kind: type[T], default: T | None = None) -> T:
        value = self._left.pop(key, default)
        if value is None:
            raise self.fail(key, "is missing")
        # bool is an int to isinstance; a description has no use for that.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.fail(key, f"must be {_NAMES[kind]}, not {value!r}")
        return value

    def strings(self, key: str, *, optional: bool = False) -> tuple[str, ...]:
        if optional and key not in self._left:
            return ()
        values = self.take(key, list)
        if not values or not all(isinstance(value, str) for value in values):
            raise self.fail(key, "must be a list of strings, not empty")
        doubled = next((v for v in values if values.count(v) > 1), None)
        if doubled is not None:
            raise self.fail(key, f"names {doubled!r} twice")
        return tuple(values)

    def section(self, key: str, *, optional: bool = False) -> "_Section":
        content = self._left.pop(key, {} if optional else None)
        if content is None:
            raise self.fail(key, "is missing")
        return _Section(content, f"{self.path}.{key}" if self.path else key, self.file)

    def sections(self) -> dict[str, "_Section"]:
        return {key: self.section(key) for key in list(self._left)}

    def end(self) -> None:
        for key in self._left:
            raise self.fail(key, "is unknown")


_NAMES: dict[type, str] = {str: "a string", list: "a list", float: "a number", int: "a number"}


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
        root = _Section(tomllib.loads(text), "", file)
    except tomllib.TOMLDecodeError as error:
        raise DescriptionError(f"{file}: {error}") from None
    head = root.section("dataset")
    dataset = Dataset(
        **{
            key: head.take(key, str)
            for key in ("name", "version", "title", "licence", "citation", "url")
        }
    )
    head.end()
    modalities = {
        name: _modality(name, section)
        for name, section in root.section("modalities").sections().items()
    }
    if not modalities:
        raise root.fail("modalities", "must describe at least one modality")
    tables = {}
    for name, section in root.section("tables", optional=True).sections().items():
        tables[name] = section.take("file", str)
        section.end()
        if name in modalities:
            raise section.fail("file", f"belongs to a table named as the modality {name!r}")
    split_column, split_names = _splits(root.section("splits", optional=True))
    classes = {}
    for column, section in root.section("labels", optional=True).sections().items():
        classes[column] = section.strings("classes")
        section.end()
    root.end()
    return Description(dataset, modalities, tables, split_column, split_names, classes)


def _splits(section: _Section) -> tuple[str | None, tuple[str, ...]]:
    column = section.take("column", str, "")
    if not column:
        section.end()
        return None, ()
    names = section.strings("names")
    section.end()
    return column, names


def _modality(name: str, section: _Section) -> ModalitySource:
    entries = section.take("bands", list)
    bands = tuple(
        _band(_Section(entry, f"{section.path}.bands[{index}]", section.file))
        for index, entry in enumerate(entries)
    )
    _check_bands(bands, section)
    patterns = section.section("fields")
    fields = {key: patterns.take(key, str) for key in list(patterns._left)}
    modality = ModalitySource(
        name=name,
        title=section.take("title", str),
        kind=section.take("kind", str),
        folder=section.take("folder", str),
        path=section.take("path", str),
        key=section.take("key", str),
        bands=bands,
        fields=fields,
        rgb=section.strings("rgb", optional=True),
    )
    section.end()
    unknown = next((name for name in modality.rgb if name not in [b.name for b in bands]), None)
    if unknown is not None or len(modality.rgb) not in (0, 3):
        raise section.fail("rgb", f"must name three of the bands, not {list(modality.rgb)!r}")
    if modality.kind not in KINDS:
        raise section.fail("kind", f"must be one of {', '.join(KINDS)}, not {modality.kind!r}")
    _check_fields(modality, section)
    return modality


def _band(section: _Section) -> Band:
    gsd = section.take("gsd", (int | float))  # type: ignore[arg-type]
    shape = section.take("shape", list)
    if len(shape) != 2 or not all(type(n) is int and n > 0 for n in shape):
        raise section.fail("shape", f"must be [height, width] in pixels, not {shape!r}")
    band = Band(section.take("name", str), gsd, section.take("dtype", str), (shape[0], shape[1]))
    section.end()
    if band.dtype not in SAFETENSORS_DTYPES:
        raise section.fail("dtype", f"must be a NumPy dtype such as uint16, not {band.dtype!r}")
    return band


def _check_bands(bands: tuple[Band, ...], section: _Section) -> None:
    if not bands:
        raise section.fail("bands", "must list at least one band")
    names = [band.name for band in bands]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise section.fail("bands", f"names {doubled!r} twice")
    if len({band.dtype for band in bands}) > 1:
        raise section.fail("bands", "must have one dtype: they are stacked into one array")
    finest = max(band.shape for band in bands)
    for band in bands:
        if finest[0] % band.shape[0] or finest[1] % band.shape[1]:
            raise section.fail(
                "bands", f"has {band.name!r} of {band.shape}, which does not divide {finest}"
            )


def _check_fields(modality: ModalitySource, section: _Section) -> None:
    for name, pattern in modality.fields.items():
        try:
            re.compile(pattern)
        except re.error as error:
            raise section.fail(f"fields.{name}", f"is no regular expression: {error}") from None
    in_path = _fields_of(modality.path)
    for name in in_path:
        if name != BAND and name not in modality.fields:
            raise section.fail("path", f"has the field {{{name}}}, which [fields] does not define")
    keys = _fields_of(modality.key)
    if len(keys) != 1 or keys[0] not in in_path or keys[0] == BAND:
        raise section.fail("key", "must hold one field of the path, in braces")
    if BAND not in in_path and len(modality.bands) > 1:
        raise section.fail("path", "has no {band}, though there are several bands")
    if BAND in _fields_of(modality.path.rpartition("/")[0]):
        raise section.fail("path", "may have {band} in the file's name only")


def _fields_of(template: str) -> list[str]:
    names = [name for _, name, _, _ in Formatter().parse(template) if name]
    return list(dict.fromkeys(names))


def built_in() -> dict[str, Path]:
    """The descriptions that come with the package: dataset name -> file."""
    folder = Path(str(files("converter"))) / "datasets"
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
