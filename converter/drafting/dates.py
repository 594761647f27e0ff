"""Whether a place was seen several times, by the dates in names and the ground of the files."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from patchpress.converter.drafting.channels import Scheme
from patchpress.converter.drafting.date_forms import MARKS, DateForm, date_form
from patchpress.converter.drafting.draft import DraftModality, DraftTime
from patchpress.converter.drafting.facts import Facts, NoImage, facts_of
from patchpress.converter.drafting.words import is_band

PLACES = 5  # with several dates whose files are opened
DATES = 6  # of such a place that are opened, at most
ACQUISITIONS = 100  # beside which a JSON file is looked for


@dataclass(frozen=True, slots=True)
class Dated:
    """How names tell the date and the place of each acquisition."""

    part: str
    """The field of a folder with the date; empty if the patch's own name has it."""
    form: DateForm
    with_before: bool
    """Whether what comes before the date in that name tells the place, too."""
    with_after: bool
    """Whether what follows it does."""
    fields: tuple[str, ...]
    """The fields of folders that tell the place."""
    whole: tuple[str, ...]
    """All fields of folders without a date."""
    above: tuple[str, ...]
    """All fields of folders."""
    finest: bool
    """Whether all that differs between names tells the place."""

    def place(self, values: Mapping[str, str], own: str) -> tuple[str, ...]:
        """What tells the place of an acquisition, in the order of a template's fields."""
        name = self.form.names[values[self.part] if self.part else own]
        return (
            *(values[field] for field in self.fields),
            *((name.before.rstrip(MARKS),) if self.with_before else ()),
            *((name.after.lstrip(MARKS),) if self.with_after else ()),
            *((own,) if self.part else ()),
        )

    def date(self, values: Mapping[str, str], own: str) -> str:
        """The date of an acquisition, as its name tells it."""
        return self.form.names[values[self.part] if self.part else own].date


def dates_of(modality: DraftModality) -> Dated | None:
    """How the files of a modality tell dates of places that were seen several times.

    None if they do not, if most places have one date, or if the files of a place lie on different
    grounds. Else `time` is entered into the modality, and how far the dates of a place lie apart.
    """
    for dated in _candidates(modality.scheme):
        places = _places(dated, modality.scheme)
        several = [place for place in places.values() if len(place) > 1]
        shift = _shift(modality.scheme, several) if several else None
        if shift is None or (shift < 0 and not dated.finest):
            continue
        why = ""
        if 2 * len(several) < len(places):
            why = f"only {len(several):,} of {len(places):,} places have several dates"
        elif _have_json(modality.scheme):
            why = "names tell several dates of a place, but a JSON file lies beside each"
        if why:
            modality.notes = [f"{why}: each date has a row of its own"]
            continue
        modality.notes = []
        modality.shift = max(modality.shift, shift)
        modality.time = DraftTime(max(map(len, several)), "{date}", dated.form.format)
        return dated
    return None


def _candidates(scheme: Scheme) -> Iterator[Dated]:
    """What may tell the place, the least first: other parts of names may differ by date."""
    own = scheme.cluster.last_field if scheme.is_folder_a_patch else ""
    fields = [name for name in scheme.cluster.fields if name != own]
    forms = {name: date_form(values[name] for values, _ in scheme.names) for name in fields}
    plain = [name for name in fields if forms[name] is None]
    part, found = "", date_form(name for _, name in scheme.names)
    if found is None:
        part = next((name for name in reversed(fields) if forms[name] is not None), "")
        found = forms[part] if part else None
    if found is None:
        return
    befores = {name.before.rstrip(MARKS) for name in found.names.values()}
    afters = {name.after.lstrip(MARKS) for name in found.names.values()}
    if _are_bands(befores) or _are_bands(afters):
        return  # each band has a file of its own, which is no place
    places = tuple(name for name in plain if name != "season")  # seasons are dates of a place
    for before, after in ((False, False), (False, True), (True, False), (True, True)):
        is_told = places or part or before or after
        if is_told and before <= (len(befores) > 1) and after <= (len(afters) > 1):
            finest = before == (len(befores) > 1) and after == (len(afters) > 1)
            yield Dated(part, found, before, after, places, tuple(plain), tuple(fields), finest)


def _are_bands(texts: Iterable[str]) -> bool:
    return all(is_band(text) for text in texts)


def _have_json(scheme: Scheme) -> bool:
    """Whether most acquisitions have a JSON file of their own: labels of a date, not of a place."""
    there = {
        place.seen.path: [name for name in place.seen.files if name.endswith(".json")]
        for place in scheme.cluster.places
    }
    step = max(1, len(scheme.names) // ACQUISITIONS)
    chosen = list(zip(scheme.names, scheme.folders, strict=True))[::step]
    found = [
        any(scheme.is_folder_a_patch or name.startswith(own) for name in there[folder])
        for (_, own), folder in chosen
    ]
    return 2 * sum(found) >= len(found)


def _places(dated: Dated, scheme: Scheme) -> dict[tuple[str, ...], dict[str, int]]:
    """Place -> date -> number of the acquisition; empty if one date is there twice."""
    found: dict[tuple[str, ...], dict[str, int]] = {}
    for number, (values, own) in enumerate(scheme.names):
        place, date = dated.place(values, own), dated.date(values, own)
        if date in found.setdefault(place, {}):
            return {}
        found[place][date] = number
    return found


def _shift(scheme: Scheme, several: Sequence[Mapping[str, int]]) -> float | None:
    """How many pixels the dates of places lie apart.

    -1 if the files have no georeference; None if some lie on another ground.
    """
    most = -1.0
    for place in several[:: max(1, len(several) // PLACES)][:PLACES]:
        opened = [_facts(scheme, number) for number in list(place.values())[:DATES]]
        facts = [one for one in opened if one is not None and one.bounds]
        for one, other in pairwise(facts):
            shift = _apart(one, other)
            if shift is None:
                return None
            most = max(most, shift)
    return most


def _apart(one: Facts, other: Facts) -> float | None:
    """How many pixels two images lie apart; None if less than half of them is common."""
    corners = list(zip(one.bounds, other.bounds, strict=True))
    width = min(corners[2]) - max(corners[0])
    height = min(corners[3]) - max(corners[1])
    sizes = [
        (right - left) * (top - bottom) for left, bottom, right, top in (one.bounds, other.bounds)
    ]
    if one.crs != other.crs or width <= 0 or height <= 0 or 2 * width * height < max(sizes):
        return None
    pixel = max((facts.bounds[3] - facts.bounds[1]) / facts.height for facts in (one, other))
    return max(max(values) - min(values) for values in corners) / pixel


def _facts(scheme: Scheme, number: int) -> Facts | None:
    """What one of the files of an acquisition says."""
    _, own = scheme.names[number]
    for channel in scheme.channels:
        path: Path = scheme.folders[number] / channel.file.replace("{}", own)
        if path.is_file():
            try:
                return facts_of(path)
            except NoImage:
                continue
    return None
