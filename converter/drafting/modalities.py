"""The files of patches made modalities: by dtype, size and what their names say."""

import re
from collections.abc import Iterator, Sequence

from patchpress.converter.drafting.channels import Scheme, image_format
from patchpress.converter.drafting.draft import DraftBand, DraftModality
from patchpress.converter.drafting.facts import MOST_CODES, Facts, codes_of
from patchpress.converter.drafting.measured import Measured, alike, shift_of
from patchpress.converter.drafting.stacked import note_stacked, stacked_dates
from patchpress.converter.drafting.words import (
    common_start,
    has_resolution,
    has_word,
    instrument_of,
    is_band,
    is_mask,
    rgb_of,
    s2_number,
    slug,
    tokens,
)

MANY = 20  # bands of a file without names, from which on they are numbered together
RADAR = ("sar", "radar", "s1", "sentinel1")


def modalities_of(scheme: Scheme, unread: list[str]) -> Iterator[DraftModality]:
    """The modalities of one scheme."""
    found = [Measured(channel, unread) for channel in scheme.channels]
    there = [one for one in found if one.facts is not None]
    literal = [part.partition("{")[0].strip("_") for part in scheme.cluster.parts]
    literal = [part for part in literal if part]
    masks = [one for one in there if _is_mask(one, literal)]
    rest = [one for one in there if one not in masks]
    single = [one for one in rest if one.said.bands == 1]
    several = [one for one in rest if one.said.bands > 1]
    if scheme.is_folder_a_patch:
        parts = [one for one in rest if has_resolution(one.channel.rest)]
        if len(parts) > 1 and any(one.said.bands > 1 for one in parts):
            together, _ = alike(parts)
            yield _several_files(scheme, together)
            single = [one for one in single if one not in together]
            several = [one for one in several if one not in together]
        while single:
            together, single = alike(single)
            yield _one_band_a_file(scheme, together, literal)
    else:
        bands = [one for one in single if one.channel.rest and is_band(one.channel.word)]
        several = [*(one for one in single if one not in bands), *several]
        while bands:
            together, bands = alike(bands)
            yield _one_band_a_file(scheme, together, literal)
    for one in several:
        yield _one_file(scheme, one, literal)
    while masks and scheme.is_folder_a_patch:
        together, masks = alike(masks)
        yield from _maps(scheme, together, literal)
    for one in masks:
        yield _map(scheme, one, literal)


def _is_mask(one: Measured, literal: Sequence[str]) -> bool:
    """Whether files are maps of classes, by their names and values."""
    facts = one.said
    if facts.bands != 1 or not facts.dtype.startswith(("int", "uint")) or is_band(one.channel.word):
        return False
    if not (is_mask(one.channel.word, *literal[-2:]) or facts.has_palette):
        return False
    return codes_of(one.files[0]) is not None


def _one_band_a_file(scheme: Scheme, some: list[Measured], literal: Sequence[str]) -> DraftModality:
    """A modality with a file for each band, or for its only one."""
    if len(some) == 1:
        return _one_file(scheme, some[0], literal)
    some.sort(key=_band_order)
    channel = some[0].channel
    start = common_start([one.channel.rest for one in some])
    start = re.sub(r"[^_\-. ]+$", "", start)  # to the last separator
    bands = []
    for one in some:
        name = one.channel.rest[len(start) :]
        bands.append(_band(name, one.said))
    before = "{}" * channel.has_name + start
    taken = {one.channel.rest for one in some}
    others = [
        one for one in scheme.channels if one.rest not in taken and one.ending == channel.ending
    ]
    clash = any(one.has_name == channel.has_name and one.rest.startswith(start) for one in others)
    is_told = clash or not scheme.is_folder_a_patch
    modality = DraftModality(
        name=_name(literal, [start.strip("_-. "), *_kinds(bands)]),
        title=_title(bands, some[0].said),
        scheme=scheme,
        file=f"{before}{{band}}{channel.ending}",
        bands=bands,
        format=image_format(channel),
        part="|".join(re.escape(band.name) for band in bands) if is_told else "",
    )
    _remark(modality, some)
    return modality


def _several_files(scheme: Scheme, some: list[Measured]) -> DraftModality:
    """A modality of several files with several bands each."""
    some.sort(key=lambda one: (-one.said.height, one.channel.rest))
    channel = some[0].channel
    start = common_start([one.channel.rest for one in some])
    start = re.sub(r"[^_\-. ]+$", "", start)
    bands, files = [], []
    for one in some:
        name = one.channel.rest[len(start) :]
        own = (
            [name] if one.said.bands == 1 else [f"{name}_{n}" for n in range(1, one.said.bands + 1)]
        )
        if "rgb" in (word.casefold() for word in tokens(name)) and one.said.bands == 3:
            own = ["Red", "Green", "Blue"]
        own = list(one.said.names) or own
        files.append((name, own))
        bands += [_band(band, one.said) for band in own]
    modality = DraftModality(
        name="image",
        title=_title(bands, some[0].said),
        scheme=scheme,
        file=f"{'{}' * channel.has_name}{start}{{file}}{channel.ending}",
        bands=bands,
        files=files,
        format=image_format(channel),
        part="|".join(re.escape(name) for name, _ in files),
    )
    if len({band.name for band in bands}) < len(bands) or not some[0].said.names:
        modality.remarks["bands"] = (
            "the files do not name their bands: give them their names here and in files"
        )
    _remark(modality, some)
    return modality


def _one_file(scheme: Scheme, one: Measured, literal: Sequence[str]) -> DraftModality:
    """A modality with one file a patch."""
    channel, facts = one.channel, one.said
    bands, remark = _bands_of(one, literal)
    stacked = stacked_dates(one)
    if stacked is not None:
        bands = [_band("B", facts, stacked[0])]
    modality = DraftModality(
        name=_name(literal, [channel.word, *_kinds(bands)]),
        title=_title(bands, facts),
        scheme=scheme,
        file=channel.file,
        bands=bands,
        format=image_format(channel),
        time=stacked[1] if stacked is not None else None,
    )
    if remark:
        modality.remarks["bands"] = remark
    if facts.bands == 1 and is_mask(channel.word, *literal[-2:]) and "float" not in facts.dtype:
        modality.remarks["title"] = (
            'whether these are codes: kind = "classes" then; they have more than '
            f"{MOST_CODES} values"
        )
    _remark(modality, [one])
    note_stacked(modality, one)
    return modality


def _maps(scheme: Scheme, some: list[Measured], literal: Sequence[str]) -> Iterator[DraftModality]:
    """Maps of one size: bands of one modality if they are many of one kind, else one each."""
    start = common_start([one.channel.rest for one in some])
    if len(some) < 3 or len(re.sub(r"[^_\-. ]+$", "", start).strip("_-. ")) < 2:
        yield from (_map(scheme, one, literal) for one in some)
        return
    modality = _one_band_a_file(scheme, some, literal)
    modality.kind = "classes"
    modality.title = "Codes of classes, or flags"
    yield modality


def _map(scheme: Scheme, one: Measured, literal: Sequence[str]) -> DraftModality:
    """A modality of codes."""
    channel = one.channel
    codes = {code for file in one.files for code in codes_of(file) or ()}
    shown = ", ".join(map(str, sorted(codes)[:20])) + (", …" if len(codes) > 20 else "")
    name = _name(literal, [channel.word, "map"])
    modality = DraftModality(
        name=name,
        title=f"Codes of classes; seen: {shown}",
        kind="classes",
        scheme=scheme,
        file=channel.file,
        bands=[_band(tokens(channel.word)[-1] if tokens(channel.word) else "Data", one.said)],
        format=image_format(channel),
        any_size=len(one.shapes) > 1,
        remarks={
            "title": "what the codes mean; a class list makes labels of them ([labels.COLUMN])"
        },
    )
    _note_axes(modality, one.said)
    return modality


def _bands_of(one: Measured, literal: Sequence[str]) -> tuple[list[DraftBand], str]:
    """The bands of a file with all of them, and what is to be decided about their names."""
    facts = one.said
    words = {word.casefold() for part in (one.channel.word, *literal) for word in tokens(part)}
    if facts.names:
        return [_band(name, facts) for name in facts.names], ""
    if facts.bands == 1:
        return [_band(one.channel.word or "Data", facts)], ""
    last = "Alpha" if facts.has_alpha else "NIR"
    colours = ["Red", "Green", "Blue", last][: facts.bands]
    if facts.bands in (3, 4) and (facts.is_colour or (facts.bands == 3 and facts.dtype == "uint8")):
        remark = "" if facts.bands == 3 else f"whether the bands are red, green, blue and {last}"
        return [_band(name, facts) for name in colours], remark
    if (
        facts.bands == 2
        and facts.dtype.startswith("float")
        and any(w.startswith(RADAR) for w in words)
    ):
        return [_band(name, facts) for name in ("VV", "VH")], "whether VV comes first"
    hint = {
        12: "; 12 may be Sentinel-2 L2A: B01 to B08, B8A, B09, B11, B12",
        13: "; 13 may be Sentinel-2 L1C: B01 to B08, B8A, B09 to B12, or B8A last",
    }.get(facts.bands, "")
    remark = f"the file does not name its bands: give them names{hint}"
    if facts.bands >= MANY:
        return [_band("B", facts, facts.bands)], ""
    return [_band("B", facts, facts.bands)], remark


def _band(name: str, facts: Facts, count: int = 0) -> DraftBand:
    return DraftBand(name or "Data", float(f"{facts.gsd:.6g}"), facts.dtype, facts.shape, count)


def _band_order(one: Measured) -> tuple[int, int, str]:
    """Sensor's own order: B8A after B8, VV before VH; others by name."""
    name = one.channel.word
    match = re.fullmatch(r"(?i)b(?:and)?_?(\d+)(a?)", tokens(name)[-1] if tokens(name) else "")
    if match:
        return 0, 2 * int(match[1]) + bool(match[2]), name
    return 1, 0 if name.casefold().endswith("vv") else 1, name


def _kinds(bands: Sequence[DraftBand]) -> list[str]:
    """What the bands say of the instrument."""
    names = {band.name.upper() for band in bands}
    if names and names <= {"VV", "VH", "HH", "HV"}:
        return ["radar"]
    if sum(bool(s2_number(name)) for name in names) >= 3:
        return ["optical"]
    return ["rgb"] if rgb_of([band.name for band in bands]) else []


def _name(literal: Sequence[str], words: Sequence[str]) -> str:
    """A modality's name: its folder's, else what its files or bands say."""
    said = [slug(word) for word in words if word]
    own = [instrument_of(part) or slug(part) for part in reversed(literal) if has_word(part)]
    own += [slug(part) for part in literal[-1:]]
    generic = {"image", "images", "data", "img", "imgs", "patches", "tif", "train", "files"}
    for name in (*own, *said):
        if name not in generic and not name.isdigit() and len(name) <= 30:
            return name
    return "image"


def _title(bands: Sequence[DraftBand], facts: Facts) -> str:
    return f"{len(bands) if not bands[0].count else bands[0].count} bands, {facts.dtype}".replace(
        "1 bands", "1 band"
    )


def _remark(modality: DraftModality, some: Sequence[Measured]) -> None:
    """Note what the files do not say, or say differently."""
    facts = some[0].said
    _note_axes(modality, facts)
    modality.shift = shift_of(some) if modality.scheme.is_folder_a_patch else 0.0
    odd = [one for one in some if len(one.shapes) > 1]
    if odd:
        modality.any_size = True
        shapes = ", ".join(f"{w} x {h}" for h, w in odd[0].shapes[:4])
        modality.remarks["size"] = f"sizes differ ({shapes} pixels): crop, pad or resize"
    other = next((one for one in some if one.other_kinds), None)
    if other is not None:
        bands, dtype = other.other_kinds[0]
        modality.remarks["path"] = (
            f"some files have {bands} bands of {dtype}, which will be refused"
        )
    if not facts.gsd:
        modality.remarks["gsd"] = "no georeference: gsd is a guess, in metres"
    elif facts.degrees:
        modality.remarks["gsd"] = (
            f"gsd is {facts.degrees:.6g} degrees from north to south, in metres"
        )


def _note_axes(modality: DraftModality, facts: Facts) -> None:
    if facts.axes:
        modality.axes = facts.axes
        modality.remarks["axes"] = "arrays do not tell which axis is which: chw, hwc or hw"
