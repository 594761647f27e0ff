"""A first description as TOML, with a comment where a person must decide."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence

from patchpress.converter.descriptions.description import GROUND_TOLERANCE
from patchpress.converter.drafting.draft import (
    Draft,
    DraftBand,
    DraftLabels,
    DraftModality,
    DraftTime,
)
from patchpress.converter.drafting.words import S2_WAVELENGTHS, rgb_of, s2_number

GUESSED_GSD = 10


def toml_of(draft: Draft, looked: str) -> str:
    """The text.

    Args:
        draft: what it says.
        looked: how much was looked at, as a clause.
    """
    lines = [
        f"# A first description of {draft.name}, made of what lies there: {looked}.",
        "# DECIDE: each line with this word asks for something that no file tells.",
        *(f"# {remark}" for remark in draft.remarks),
        "",
        "[dataset]",
        f"name = {_quoted(draft.name)}",
        'version = "1"',
        f"title = {_quoted(draft.name)}",
        'licence = "unknown"  # DECIDE: under which licence may it be used',
        'url = "unknown"  # DECIDE: where it comes from',
        'citation = "unknown"  # DECIDE: whom to cite',
    ]
    for modality in draft.modalities:
        lines += ["", *_modality(modality)]
    for table in draft.tables:
        lines += ["", f"[tables.{_key(table.name)}]", f"file = {_quoted(table.file)}"]
        if table.key:
            lines.append(f"key = {_quoted(table.key)}")
        if table.columns:
            lines.append(f"columns = {_inline(table.columns)}")
    if draft.split_column:
        lines += ["", "[splits]", f"column = {_quoted(draft.split_column)}"]
        lines.append(f"names = {_list(draft.split_names)}")
        if draft.list_suffix:
            lines.append(f"list_suffix = {_quoted(draft.list_suffix)}")
    if draft.lists:
        lines += ["", "[splits.lists]"]
        lines += [f"{_key(split)} = {_quoted(file)}" for split, file in draft.lists.items()]
    if draft.flags:
        lines += ["", "[flags]"]
        lines += [f"{_key(column)} = {_quoted(file)}" for column, file in draft.flags.items()]
    for column, labels in draft.labels.items():
        lines += ["", f"[labels.{_key(column)}]", *_classes(labels)]
    return "\n".join(lines) + "\n"


def _modality(modality: DraftModality) -> list[str]:
    remarks = modality.remarks
    lines = [
        f"[modalities.{_key(modality.name)}]",
        f"title = {_quoted(modality.title)}"
        + _decide(remarks.get("title", "what the pixels are, and their unit")),
        f"kind = {_quoted(modality.kind)}",
    ]
    if modality.format != "tiff":
        lines.append(f"format = {_quoted(modality.format)}")
    if modality.axes:
        remark = _decide(remarks.get("axes", ""))
        lines.append(f"axes = {_quoted(modality.axes)}{remark}")
    lines += [
        f"folder = {_quoted(modality.folder)}",
        *([f"archives = {_list(modality.archives)}"] if modality.archives else []),
        f"path = {_quoted(modality.path)}{_decide(remarks.get('path', ''))}",
        f"key = {_quoted(modality.key)}",
    ]
    if "key" in remarks:
        lines.insert(-1, f"# DECIDE: {remarks['key']}.")
    if modality.identity:
        lines.append(f"name = {_quoted(modality.identity)}")
    if modality.patch:
        lines.append(f"patch = {_quoted(modality.patch)}")
    if modality.any_size and modality.time:  # size alone says what is done with other sizes
        lines.append(f'size = "crop"{_decide(remarks.get("size", ""))}')
    elif modality.any_size:
        lines += ["any_size = true", f'size = "crop"{_decide(remarks.get("size", ""))}']
    if modality.shift > GROUND_TOLERANCE:
        apart = f"the files of a patch lie up to {modality.shift:.2g} pixels apart"
        lines.append(f"ground_tolerance = {math.ceil(modality.shift)}{_decide(apart)}")
    rgb = rgb_of(modality.rgb_names)
    if rgb and modality.kind == "image":
        lines.append(f"rgb = {_list(rgb)}")
    for key in ("bands", "gsd"):
        if key in remarks:
            lines.append(f"# DECIDE: {remarks[key]}.")
    wavelengths = _wavelengths(modality.bands)
    lines.append("bands = [")
    lines += [f"    {_band(band, wavelengths.get(band.name, 0.0))}," for band in modality.bands]
    lines.append("]")
    if modality.files:
        lines.append("files = [")
        lines += [
            f"    {{ name = {_quoted(name)}, bands = {_list(bands)} }},"
            for name, bands in modality.files
        ]
        lines.append("]")
    if modality.columns:
        lines.append(f"columns = {_inline(modality.columns)}")
    if modality.date:
        text, form = modality.date
        keys = ", ".join(
            [f"name = {_literal(text)}", *([f"format = {_quoted(form)}"] * bool(form))]
        )
        lines.append(f"date = {{ {keys} }}{_decide('whether this is when each was acquired')}")
    if modality.time:
        lines += ["", *_time(modality.name, modality.time, remarks.get("time", ""))]
    lines += ["", f"[modalities.{_key(modality.name)}.fields]"]
    lines += [f"{_key(name)} = {_literal(text)}" for name, text in modality.fields.items()]
    if modality.sidecar:
        lines += ["", f"[modalities.{_key(modality.name)}.sidecar]"]
        lines.append(f"file = {_quoted(modality.sidecar)}")
        lines.append(f"columns = {_inline(modality.sidecar_columns)}")
    return lines


def _time(name: str, time: DraftTime, remark: str) -> list[str]:
    texts = {"date": time.date, "format": time.format, "order": time.order}
    return [
        "# A row of the table is a place; its record has a time axis with so many dates.",
        f"[modalities.{_key(name)}.time]",
        f"steps = {time.steps}{_decide(remark)}",
        *(f"{key} = {_quoted(text)}" for key, text in texts.items() if text),
    ]


def _wavelengths(bands: Sequence[DraftBand]) -> dict[str, float]:
    """Nanometres of the bands, if they are those of Sentinel-2: no other sensor has a band 8A."""
    numbers = {band.name: s2_number(band.name) for band in bands}
    if "B8A" not in numbers.values():
        return {}
    return {name: S2_WAVELENGTHS[number] for name, number in numbers.items() if number}


def _band(band: DraftBand, wavelength: float) -> str:
    height, width = band.shape
    entries = [f"name = {_quoted(band.name)}"]
    if band.count:
        entries.append(f"count = {band.count}")
    entries += [
        f"gsd = {band.gsd or GUESSED_GSD:g}",
        f"dtype = {_quoted(band.dtype)}",
        f"shape = [{height}, {width}]",
    ]
    if wavelength:
        entries.append(f"wavelength = {wavelength:g}")
    return "{ " + ", ".join(entries) + " }"


def _classes(labels: DraftLabels) -> list[str]:
    lines = [f"# DECIDE: {labels.remark}."] if labels.remark else []
    lines += [f"kind = {_quoted(labels.kind)}"] if labels.kind else []
    if sum(map(len, labels.classes)) < 70:
        return [*lines, f"classes = {_list(labels.classes)}"]
    return [*lines, "classes = [", *(f"    {_quoted(name)}," for name in labels.classes), "]"]


def _decide(text: str) -> str:
    return f"  # DECIDE: {text}" if text else ""


def _quoted(text: str) -> str:
    """A basic string of TOML."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _literal(text: str) -> str:
    """A string in which backslashes stay as they are, if that can be written."""
    return f"'{text}'" if "'" not in text and text.isprintable() else _quoted(text)


def _key(name: str) -> str:
    plain = name.isascii() and all(letter.isalnum() or letter in "_-" for letter in name)
    return name if name and plain else _quoted(name)


def _list(values: Iterable[str]) -> str:
    return f"[{', '.join(map(_quoted, values))}]"


def _inline(values: Mapping[str, str]) -> str:
    return (
        f"{{ {', '.join(f'{_key(name)} = {_quoted(value)}' for name, value in values.items())} }}"
    )
