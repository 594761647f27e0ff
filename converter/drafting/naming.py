"""Paths, keys and identities: what patches are called, and which of them are partners."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from patchpress.converter.drafting.date_forms import date_in_each
from patchpress.converter.drafting.dates import dates_of
from patchpress.converter.drafting.draft import IDENTITY, DraftModality
from patchpress.converter.drafting.naming_dates import OWN, name_dated, only_own
from patchpress.converter.drafting.tree import LABEL, SPLIT
from patchpress.converter.drafting.words import form

FEW = 400  # names that are compared with those of other modalities


class Link(NamedTuple):
    """How names of one modality follow from the identities of another."""

    before: str = ""
    after: str = ""
    middle: tuple[str, str] | None = None
    """A word of the one that is another word in the other."""


def name_all(modalities: Sequence[DraftModality], *, whole: bool) -> None:
    """Give each modality its path, key and fields; the first of them names the rows.

    Args:
        modalities: the first one names the rows.
        whole: whether all patches were seen, so that names that are not twice there are unique.
    """
    first = modalities[0]
    dates = {one.name: None if one.time else dates_of(one) for one in modalities}
    dated = dates[first.name]
    composed = bool(dated.fields) if dated else _is_composed(first, whole=whole)
    shared = list(dated.fields) if dated else _fields(first)
    for modality in modalities:
        found = dates[modality.name]
        if found is not None:
            name_dated(modality, found)
            if not whole or modality.scheme.cluster.cut:
                modality.remarks["time"] = (
                    "the most dates of a place that were seen; a place with more is an error"
                )
        else:
            is_first = modality is first
            _name(modality, composed=composed and (is_first or _fields(modality) == shared))
        if modality is first:
            first.key = f"{{{IDENTITY}}}"
        else:
            _link(modality, first, modalities)
        if modality.time is None and modality.kind == "image":
            modality.date = date_in_each(modality.names)


def _fields(modality: DraftModality) -> list[str]:
    scheme = modality.scheme
    own = scheme.cluster.last_field if scheme.is_folder_a_patch else ""
    return [name for name in scheme.cluster.fields if name != own]


def _is_composed(modality: DraftModality, *, whole: bool) -> bool:
    """Whether the patch's own name needs what the folders above tell to be one of a kind."""
    names = modality.scheme.names
    counts = Counter(name for _, name in names)
    if not _fields(modality):
        return False
    if max(counts.values()) > 1 or (not whole and all(name.isdigit() for name in counts)):
        return True
    groups = [field for field in _fields(modality) if field not in (LABEL, SPLIT)]
    return any(values.get(field, "") not in name for values, name in names for field in groups)


def _name(modality: DraftModality, *, composed: bool) -> None:
    """Path, folder, fields, columns and names of one modality."""
    scheme = modality.scheme
    own = OWN if composed else IDENTITY
    parts = list(scheme.cluster.parts)
    if scheme.is_folder_a_patch:
        parts[-1] = f"{{{own}}}"
    at = next((n for n, part in enumerate(parts) if "{" in part), len(parts))
    modality.folder = "/".join(parts[:at]) or "."
    modality.path = "/".join([*parts[at:], modality.file.replace("{}", f"{{{own}}}")])
    fields = _fields(modality)
    modality.fields = {name: form(scheme.cluster.fields[name]) for name in fields}
    modality.fields[own] = _own_form(modality)
    if modality.part:
        modality.fields["file" if modality.files else "band"] = modality.part
    modality.columns = {name: f"{{{name}}}" for name in fields}
    template = "_".join(f"{{{name}}}" for name in (*fields, own))
    modality.identity = template if composed else ""
    modality.names = {
        template.format_map({**values, own: name}) if composed else name
        for values, name in scheme.names
    }


def _own_form(modality: DraftModality) -> str:
    """The expression of the patch's own name, which names of other layers must not match."""
    return only_own(modality, form(name for _, name in modality.scheme.names))


def _link(modality: DraftModality, first: DraftModality, all_of: Sequence[DraftModality]) -> None:
    """Say which row a patch of another modality belongs to."""
    before, mark, after = modality.file.partition("{}")
    before, after = (before, after.rpartition(".")[0]) if mark else ("", "")
    after = "" if "{" in after else after
    link = _relation(first.names, modality.names)
    if modality.time and modality.time.date and link != Link():
        link = None  # what stands around the place's name is not in the path
    if link is None:
        same = form(first.names) == form(modality.names) and not (
            modality.time and modality.time.date
        )
        link = Link() if same else None
    if link is None:
        modality.key = f"{{{IDENTITY}}}_{modality.name}"
        modality.is_linked = False
        modality.remarks["key"] = (
            f"how a patch belongs to one of {first.name}: its names tell nothing. It has rows of "
            "its own unless a table, [pairs] or `patch` says more"
        )
        return
    if link.middle is not None:
        _replace_word(modality, first, link.middle)
    elif link.before or link.after:
        _strip(modality, link)
        modality.key = f"{link.before}{{{IDENTITY}}}{link.after}"
    else:
        is_said = (before or after) and not modality.scheme.is_folder_a_patch
        end = after if is_said else f"_{modality.name}"
        modality.key = f"{before}{{{IDENTITY}}}{end}"
    taken = [one.key for one in all_of if one is not modality and one.key]
    if modality.key in taken:
        modality.key = f"{{{IDENTITY}}}_{modality.name}"


def _strip(modality: DraftModality, link: Link) -> None:
    """Take what is around the identity out of the field, into the path."""
    modality.path = modality.path.replace(
        f"{{{IDENTITY}}}", f"{link.before}{{{IDENTITY}}}{link.after}"
    )
    cut = slice(len(link.before), -len(link.after) or None)
    modality.names = {name[cut] for name in modality.names}
    modality.fields[IDENTITY] = form(modality.names)


def _replace_word(modality: DraftModality, first: DraftModality, words: tuple[str, str]) -> None:
    """Name its patches by a column of their own; their row has another word in the middle."""
    column = f"{modality.name}_name"
    theirs, own = words
    sample = sorted(modality.names)
    heads = {name.partition(own)[0] for name in sample}
    tails = {name.partition(own)[2] for name in sample}
    pattern = f"(?P<head>{form(heads)}){own}(?P<tail>{form(tails)})"
    modality.path = modality.path.replace(f"{{{IDENTITY}}}", f"{{{column}}}")
    modality.fields = {
        (column if name == IDENTITY else name): (pattern if name == IDENTITY else text)
        for name, text in modality.fields.items()
    }
    modality.key = f"{{{column}}}"
    modality.patch = f"{{head}}{theirs}{{tail}}"
    modality.names = {name.replace(own, theirs, 1) for name in modality.names}


def _relation(identities: set[str], names: set[str]) -> Link | None:
    """How some names follow from identities, by those that were seen; None if they do not."""
    some, others = sorted(identities)[:FEW], sorted(names)[:FEW]
    if len(identities & names) * 3 >= min(len(identities), len(names)):
        return Link()
    around: Counter[tuple[str, str]] = Counter()
    for name in others:
        found = [one for one in some if one in name]
        if found:
            longest = max(found, key=len)
            before, _, after = name.partition(longest)
            around[before, after] += 1
    best = around.most_common(1)
    if best and 3 * best[0][1] >= min(len(some), len(others)):
        return Link(*best[0][0])
    return _other_word(some, others)


def _other_word(some: Sequence[str], others: Sequence[str]) -> Link | None:
    """The link if names differ in one word, the same in all of them."""
    known = {tuple(name.split("_")) for name in some}
    words: Counter[tuple[str, str]] = Counter()
    positions = {
        (at, parts[at]) for parts in known for at in range(len(parts)) if not parts[at].isdigit()
    }
    for name in others:
        parts = name.split("_")
        for at, word in positions:
            if at < len(parts) and (*parts[:at], word, *parts[at + 1 :]) in known:
                words[word, parts[at]] += 1
    best = words.most_common(1)
    if not best or 3 * best[0][1] < min(len(some), len(others)):
        return None
    theirs, own = (f"_{word}_" for word in best[0][0])
    inside = all(name.count(own) == 1 for name in others) and all(theirs in name for name in some)
    return Link(middle=(theirs, own)) if inside else None


def link_by_column(modality: DraftModality, column: str) -> None:
    """Let its names stand in a column of their own, because something tells the row of each."""
    modality.is_linked = True
    modality.remarks.pop("key", None)
    _rename(modality, column)
    modality.key = f"{{{column}}}"


def _rename(modality: DraftModality, column: str) -> None:
    old, new = f"{{{IDENTITY}}}", f"{{{column}}}"
    modality.path = modality.path.replace(old, new)
    modality.key = modality.key.replace(old, new)
    modality.sidecar = modality.sidecar.replace(old, new)
    modality.fields = {
        (column if name == IDENTITY else name): text for name, text in modality.fields.items()
    }


def share_names(values: Sequence[Any], names: Collection[str]) -> bool:
    """Whether some values are names of patches."""
    same = sum(value in names for value in values if isinstance(value, str))
    return same > 0 and 3 * same >= min(len(values), len(names))
