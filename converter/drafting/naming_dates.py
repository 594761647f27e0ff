"""Path, name and fields of a modality of places that were seen several times."""

import re

from patchpress.converter.drafting.dates import Dated
from patchpress.converter.drafting.draft import IDENTITY, DraftModality
from patchpress.converter.drafting.words import form

OWN = "patch"  # the field of a patch's own name, if its identity has more than that
DATE = "date"


def only_own(modality: DraftModality, text: str) -> str:
    """An expression of patches' own names that no name of another layer's file matches."""
    scheme = modality.scheme
    if scheme.is_folder_a_patch or modality.file.partition("{}")[2].startswith(("_", "-")):
        return text
    ends = [channel.rest for channel in scheme.channels if channel.rest]
    if not ends:
        return text
    # Files of other layers in the same folder are `NAME_layer`, which a name may look like, too.
    return text + "".join(f"(?<!{re.escape(end)})" for end in sorted(set(ends)))


def name_dated(modality: DraftModality, dated: Dated) -> None:
    """Name the places; each date of one is a folder or file of its own."""
    scheme = modality.scheme
    parts = list(scheme.cluster.parts)
    taken = {*scheme.cluster.fields, IDENTITY, OWN}
    before = _free("place", taken) if dated.with_before else ""
    after = _free("rest", taken) if dated.with_after else ""
    pattern = dated.form.pattern(before, after)
    is_alone = pattern == f"(?P<{DATE}>{dated.form.expression})"
    dates = DATE if is_alone else _free("acquisition", taken)
    own = dates
    places = [*dated.fields, *filter(None, (before, after))]
    if dated.part:
        own = OWN if places else IDENTITY
        places.append(own)
        parts = [dates.join(("{", "}")) if part == f"{{{dated.part}}}" else part for part in parts]
    if scheme.is_folder_a_patch:
        parts[-1] = f"{{{own}}}"
    at = next((n for n, part in enumerate(parts) if "{" in part), len(parts))
    modality.folder = "/".join(parts[:at]) or "."
    modality.path = "/".join([*parts[at:], modality.file.replace("{}", f"{{{own}}}")])
    above = [name for name in dated.above if name != dated.part]
    modality.fields = {name: form(scheme.cluster.fields[name]) for name in above}
    modality.fields[dates] = dated.form.expression if is_alone else pattern
    if dated.part:
        modality.fields[own] = form(name for _, name in scheme.names)
    modality.fields[own] = only_own(modality, modality.fields[own])
    if modality.part:
        modality.fields["file" if modality.files else "band"] = modality.part
    modality.columns = {name: f"{{{name}}}" for name in dated.whole}
    if not dated.finest:
        modality.columns[f"{modality.name}_acquisitions"] = f"{{{dates}}}"
    template = "_".join(f"{{{name}}}" for name in places)
    modality.identity = "" if places == [IDENTITY] else template
    modality.names = {"_".join(dated.place(*name)) for name in scheme.names}


def _free(name: str, taken: set[str]) -> str:
    """A name for a field that no other field has."""
    return next(one for one in (name, *(f"{name}_{n}" for n in range(2, 99))) if one not in taken)
