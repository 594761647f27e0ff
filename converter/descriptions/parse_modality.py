"""One ``[modalities.NAME]`` table of a description to a `ModalitySource`, with all checks."""

import re
from collections.abc import Sequence

import numpy as np

from patchpress.converter.descriptions.acquired import parse_acquired
from patchpress.converter.descriptions.band_files import (
    BAND,
    FILE,
    BandFile,
    files_of_bands,
    parse_files,
)
from patchpress.converter.descriptions.description import (
    GROUND_TOLERANCE,
    KINDS,
    SIZE_RULES,
    ModalitySource,
    Sidecar,
    fields_of,
)
from patchpress.converter.descriptions.embedded import EmbeddedFiles, parse_embedded
from patchpress.converter.descriptions.expressions import expression, groups_in
from patchpress.converter.descriptions.formats import parse_format
from patchpress.converter.descriptions.patterns import PathPattern, fields_of_place
from patchpress.converter.descriptions.strict import Section
from patchpress.converter.descriptions.time import Time, parse_time
from patchpress.readers.format.modality import Band, record_form
from patchpress.readers.format.record import RECORD_LIMIT, SAFETENSORS_DTYPES

MOST_BANDS = 4096


def parse_modality(name: str, section: Section, identity: str, *, limited: bool) -> ModalitySource:
    """Read one modality.

    Args:
        name: the modality's name.
        section: its table; no key is left in it.
        identity: the table column that names a row.
        limited: as `ModalitySource` has it.

    Raises:
        DescriptionError: a wrong key.
    """
    wavelengths: dict[str, float] = {}
    bands = tuple(band for entry in section.tables("bands") for band in _bands(entry, wavelengths))
    key = _template(section, "key", section.take("key", str))
    if len(fields_of(key)) != 1:
        raise section.error("key", "must hold one column of the table, in braces")
    column = fields_of(key)[0]
    patch = section.take("name", str, f"{{{column}}}")
    row = section.take("patch", str, patch if column == identity else "")
    folder = section.inside("folder", section.take("folder", str))
    archives = section.strings("archives", optional=True)
    paths = tuple(section.inside("path", path) for path in section.string_or_strings("path"))
    files = parse_files(section, paths, bands)
    modality = ModalitySource(
        name=name,
        title=section.take("title", str),
        kind=section.take("kind", str),
        folder=folder,
        archives=archives or ((folder,) if folder != "." else ()),
        paths=paths,
        key=key,
        name_template=_template(section, "name", patch),
        identity_template=_template(section, "patch", row) or None,
        bands=bands,
        fields=section.mapping("fields"),
        files=files,
        file_format=parse_format(section, files or _plain_files(paths, bands), bands),
        rgb=section.strings("rgb", optional=True),
        wavelengths=wavelengths,
        columns=section.mapping("columns"),
        sidecar=_sidecar(section.section("sidecar", optional=True), column),
        alone=section.take("alone", bool, default=False),
        any_size=section.take("any_size", bool, default=False),
        size=section.take("size", str, "keep"),
        ground_tolerance=section.number("ground_tolerance", GROUND_TOLERANCE),
        embedded=parse_embedded(section.section("parquet", optional=True)),
        time=parse_time(section.section("time", optional=True)),
        date=parse_acquired(section.section("date", optional=True), limited=limited),
        limited=limited,
    )
    section.end()
    _check_bands(modality, section)
    _check_fields(modality, section)
    if modality.embedded:
        _check_embedded(modality, modality.embedded, section)
    if modality.time and modality.date:
        raise section.error("date", "is for one acquisition, and time says that there are several")
    if modality.time:
        _check_time(modality, modality.time, section)
    return modality


def _check_embedded(modality: ModalitySource, embedded: EmbeddedFiles, section: Section) -> None:
    """Refuse columns that do not tell all that a patch's name, row and columns are made of."""
    known = set(embedded.fields)
    for field in embedded.fields:
        known |= set(re.compile(modality.fields.get(field, "")).groupindex)
    templates = [modality.name_template, modality.identity_template or ""]
    templates += modality.columns.values()
    templates += [modality.time.date] if modality.time else []
    for template in templates:
        for field in fields_of(template):
            if field not in known:
                raise section.error("parquet.fields", f"must have {field}, which {template!r} has")


def _plain_files(paths: Sequence[str], bands: Sequence[Band]) -> tuple[BandFile, ...]:
    """The files of a patch of which nothing is said."""
    return files_of_bands(bands, apart=all(f"{{{BAND}}}" in path for path in paths))


def _sidecar(section: Section, key_column: str) -> Sidecar | None:
    if not section.keys:
        return None
    sidecar = Sidecar(section.inside("file", section.take("file", str)), section.mapping("columns"))
    section.end()
    for name in fields_of(_template(section, "file", sidecar.file)):
        if name != key_column:
            raise section.error("file", f"has the field {{{name}}}, not {{{key_column}}}")
    return sidecar


def _bands(section: Section, wavelengths: dict[str, float]) -> list[Band]:
    """The bands of one entry: one; or if it has ``count``, so many, numbered from 1.

    The wavelength of one band is entered in `wavelengths`, in nanometres.
    """
    gsd = section.number("gsd")
    shape = section.take("shape", list)
    count = section.take("count", int, 0)
    if gsd <= 0:
        raise section.error("gsd", f"must be metres above 0, not {gsd}")
    if len(shape) != 2 or not all(type(n) is int and n > 0 for n in shape):
        raise section.error("shape", f"must be [height, width] in pixels, not {shape!r}")
    if not 0 <= count <= MOST_BANDS:
        raise section.error("count", f"must be how many bands there are, not {count}")
    name, dtype = section.take("name", str), section.take("dtype", str)
    wavelength = section.number("wavelength", 0.0)
    section.end()
    if wavelength < 0 or (wavelength and count):
        raise section.error("wavelength", f"must be nanometres of one band, not {wavelength}")
    if wavelength:
        wavelengths[name] = wavelength
    if dtype not in SAFETENSORS_DTYPES:
        raise section.error("dtype", f"must be a NumPy dtype such as uint16, not {dtype!r}")
    if shape[0] * shape[1] * np.dtype(dtype).itemsize * max(count, 1) > RECORD_LIMIT:
        raise section.error("shape", f"makes records of more than {RECORD_LIMIT:,} bytes: {shape}")
    names = [f"{name}{number}" for number in range(1, count + 1)] if count else [name]
    return [Band(name, gsd, dtype, (shape[0], shape[1])) for name in names]


def _check_bands(modality: ModalitySource, section: Section) -> None:
    """Refuse bands that cannot be stacked into one array, and a kind that does not exist."""
    bands = modality.bands
    if not bands:
        raise section.error("bands", "must list at least one band")
    names = [band.name for band in bands]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise section.error("bands", f"names {doubled!r} twice")
    together = [path for path in modality.paths if not modality.files and f"{{{BAND}}}" not in path]
    if together and len({band.shape for band in bands}) > 1:
        raise section.error("path", "has no {band} or {file}, though its bands differ in shape")
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
    if modality.size not in SIZE_RULES:
        problem = f"must be one of {', '.join(SIZE_RULES)}, not {modality.size!r}"
        raise section.error("size", problem)
    if modality.kind not in KINDS:
        raise section.error("kind", f"must be one of {', '.join(KINDS)}, not {modality.kind!r}")


def _check_fields(modality: ModalitySource, section: Section) -> None:
    """Refuse templates with fields that `fields` does not have, and wrong expressions."""
    known = set(modality.fields)
    for name, pattern in modality.fields.items():
        try:
            known |= groups_in(pattern)
            expression(pattern, limited=modality.limited)
        except re.error as error:
            raise section.error(f"fields.{name}", f"is no regular expression: {error}") from None
    for path in modality.paths:
        # A field that is only a group inside another field has no expression for a path.
        part = FILE if modality.files else BAND
        _require_fields(section, "path", path, {*modality.fields, part})
        if part in fields_of(path.rpartition("/")[0]):
            raise section.error("path", f"may have {{{part}}} in the file's name only")
        try:
            PathPattern(path, modality)
        except re.error as error:
            raise section.error("path", f"cannot be made a regular expression: {error}") from None
    # Without `name`, the published name is the field in the key's braces.
    own = modality.name_template == f"{{{modality.key_column}}}"
    _require_fields(section, "key" if own else "name", modality.name_template, known)
    _require_fields(section, "patch", modality.identity_template or "", known)
    for column, template in modality.columns.items():
        _require_fields(section, f"columns.{column}", template, known)


def _check_time(modality: ModalitySource, time: Time, section: Section) -> None:
    """Refuse what cannot be of a place that was seen several times."""
    if modality.any_size:
        problem = "cannot be true beside [time]: size says what is done with another size"
        raise section.error("any_size", problem)
    if modality.sidecar is not None:
        raise section.error("sidecar", "cannot be beside [time]: a place has one for each date")
    nbytes = record_form(modality.name, "stacked", modality.bands, time.steps).size
    if nbytes > RECORD_LIMIT:
        problem = f"makes records of {nbytes:,} bytes, more than {RECORD_LIMIT:,}: {time.steps}"
        raise section.error("time.steps", problem)
    if not time.date:
        return
    known = set(modality.fields).union(*map(groups_in, modality.fields.values()))
    _require_fields(section, "time.date", time.date, known)
    dated = fields_of(time.date)
    if not dated:
        raise section.error("time.date", f"has no field, so all dates are alike: {time.date!r}")
    shared = [name for name in dated if name in fields_of_place(modality)]
    if shared:
        key = "name" if modality.name_template != f"{{{modality.key_column}}}" else "key"
        raise section.error(
            key,
            f"tells {{{shared[0]}}}, too, so each date would be a place of its own: name the place",
        )


def _require_fields(section: Section, key: str, template: str, known: set[str]) -> None:
    for name in fields_of(_template(section, key, template)):
        if name not in known:
            raise section.error(key, f"has the field {{{name}}}, which fields do not define")


def _template(section: Section, key: str, template: str) -> str:
    """A template as it is, if each of its braces belongs to a field."""
    text = re.sub(r"\{\w+\}", "", template)
    if "{" in text or "}" in text:
        raise section.error(key, f"has a brace that encloses no field's name: {template!r}")
    return template
