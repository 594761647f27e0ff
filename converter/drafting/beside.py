"""Tables and lists beside the patches: which of them tell labels, splits, flags or partners."""

import csv
import os
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from patchpress.converter.drafting.classes_of import LABEL_WORDS, add_labels, shares_in
from patchpress.converter.drafting.draft import (
    IDENTITY,
    Draft,
    DraftLabels,
    DraftModality,
    DraftTable,
)
from patchpress.converter.drafting.looking import TABLES, Look, format_of
from patchpress.converter.drafting.naming import link_by_column, share_names
from patchpress.converter.drafting.sidecars import add_sidecar
from patchpress.converter.drafting.table_reading import ReadTable, read_table
from patchpress.converter.drafting.words import slug, tokens
from patchpress.readers.format.split_names import STANDARD, standard_name

MOST_FILES = 40  # tables and lists that are looked at
_SPLITS = ("split", "set", "subset", "fold", "partition")


def add_what_lies_beside(draft: Draft, look: Look) -> None:
    """Enter tables, lists and JSON files into a first description, or say what they are not."""
    of_patches = {f for modality in draft.modalities for f in add_sidecar(draft, modality)}
    for file in _tables(look, draft, of_patches):
        _add_table(draft, look.root.path, file)


def _tables(look: Look, draft: Draft, of_patches: Collection[Path]) -> Iterator[Path]:
    """Files that may be tables or lists, in folders that are no patches."""
    own = {
        place.seen.path
        for modality in draft.modalities
        if modality.scheme.is_folder_a_patch
        for place in modality.scheme.cluster.places
    }
    found = []
    for seen in look.root.all_folders():
        if seen.path in own:
            continue
        images = {os.path.splitext(name)[0] for name in seen.images()}
        found += [
            seen.path / name
            for name in seen.files
            if name.lower().endswith(TABLES)
            and os.path.splitext(name)[0] not in images
            and seen.path / name not in of_patches
        ]
    if len(found) > MOST_FILES:
        draft.remarks.append(
            f"{len(found):,} files may be tables or lists; the first {MOST_FILES} were looked at."
        )
    yield from found[:MOST_FILES]


def _add_table(draft: Draft, root: Path, path: Path) -> None:
    file = path.relative_to(root).as_posix()
    try:
        read = read_table(path)
    except RecursionError:
        draft.remarks.append(f"{file} is nested thousands deep: no table or list is.")
        return
    except (OSError, ValueError, csv.Error) as error:
        draft.remarks.append(f"{file} could not be read as a table or a list ({error}).")
        return
    if read is None:
        return
    first = draft.modalities[0]
    column, suffix = _column_of_names(read, first)
    # Names of files of another modality do, too, if they have the same patches' names.
    same = [m for m in draft.modalities[1:] if m.is_linked and f"{{{IDENTITY}}}" in m.key]
    for modality in same:
        if not column:
            column, suffix = _column_of_names(read, modality)
    if not column:
        other = _column_of_partners(read, draft.modalities[1:])
        more = f"; {other[0]} has those of {other[1]}" if other else ""
        dated = _name_of_dates(read, draft.modalities)
        draft.remarks.append(
            dated.format(file=file)
            if dated
            else f"{file} has no names of patches of {first.name}{more}: not used."
        )
        return
    split = _split_of(path)
    texts = [column for column, values in read.columns.items() if values]
    is_list = path.suffix.lower() in (".txt", ".lst", ".list", ".csv", ".tsv")
    if is_list and split and _is_list(read, column):
        draft.split_column = draft.split_column or "split"
        draft.lists[split] = file
        draft.list_suffix = suffix or draft.list_suffix
        draft.split_names = [name for name in STANDARD if name in draft.lists] + [
            name for name in draft.lists if name not in STANDARD
        ]
    elif is_list and len(texts) == 1:
        if len(read.columns[column]) < len(first.names):
            draft.flags = {**draft.flags, slug(path.stem): file}
        else:
            draft.remarks.append(f"{file} names all patches: not used.")
    else:
        _add_columns(draft, read, file, column)


def _add_columns(draft: Draft, read: ReadTable, file: str, key: str) -> None:
    """A table with a column of names, and others."""
    if not read.has_header:
        draft.remarks.append(f"{file} has names of patches, but no header: not used.")
        return
    name = slug(Path(file).stem)
    name = name if name not in {one.name for one in draft.modalities} else f"{name}_table"
    table = DraftTable(name, file, "" if key == IDENTITY else key)
    draft.tables.append(table)
    shares = shares_in(read.columns["value"]) if read.is_object else set()
    if shares:
        table.columns = {"fractions": "value"}
        draft.labels["fractions"] = DraftLabels(sorted(shares), kind="shares")
        return
    for column, values in read.columns.items():
        texts = [value for value in values if value is not None]
        for modality in draft.modalities[1:]:
            if column != key and not modality.is_linked and share_names(texts, modality.names):
                link_by_column(modality, column)
        if column.casefold() in _SPLITS and {standard_name(str(v)) for v in texts} <= {*STANDARD}:
            draft.split_column = column
            draft.split_names = list(STANDARD)
        elif column.casefold() in LABEL_WORDS:
            add_labels(draft, column, texts, whole=read.whole)


def _is_list(read: ReadTable, column: str) -> bool:
    """Whether a table has names only: in one column, or names of other files in a second one."""
    others = [values for name, values in read.columns.items() if name != column]
    if not others:
        return True
    second = [str(value) for value in others[0]]
    return len(others) == 1 and bool(second) and all(format_of(name) for name in second)


def _split_of(path: Path) -> str:
    """The split that a list's name says; empty if it says none."""
    words = [path.stem, *tokens(path.stem)]
    return next((standard_name(word) for word in words if standard_name(word) in STANDARD), "")


def _column_of_names(read: ReadTable, modality: DraftModality) -> tuple[str, str]:
    """The column with the names of patches, and what follows them; two empty texts if none has."""
    best, suffix, most = "", "", 0
    form = re.compile(modality.fields.get(IDENTITY, "(?!)"))
    for column, values in read.columns.items():
        texts = [value for value in values[:2_000] if isinstance(value, str)]
        plain = [os.path.splitext(text.rpartition("/")[2])[0] for text in texts]
        exact = sum(name in modality.names for name in (*plain, *texts))
        end = modality.path.rpartition("}")[2]
        ended = [text.removesuffix(end) for text in texts if end and text.endswith(end)]
        with_end = sum(name in modality.names for name in ended)
        alike = sum(form.fullmatch(name) is not None for name in plain)
        sure = max(exact, with_end)
        count = sure * 10 or (alike if texts and alike == len(texts) and len(texts) > 20 else 0)
        if count > most:
            most, best = count, column
            suffix = end if with_end > exact else ""
    return best, suffix


def _name_of_dates(read: ReadTable, modalities: Sequence[DraftModality]) -> str:
    """A sentence if a table names single dates of places, with the file to be filled in."""
    for modality in modalities:
        own = {name for _, name in modality.scheme.names} if modality.time else set()
        for values in read.columns.values():
            texts = [os.path.splitext(value)[0] for value in values if isinstance(value, str)]
            if share_names(texts, own - modality.names):
                return (
                    f"{{file}} names single dates of {modality.name}, whose rows are places: not "
                    f"used. A row a date: leave out [modalities.{modality.name}.time], and name "
                    "each date in `name`."
                )
    return ""


def _column_of_partners(
    read: ReadTable, modalities: Sequence[DraftModality]
) -> tuple[str, str] | None:
    for modality in modalities:
        column, _ = _column_of_names(read, modality)
        if column:
            return column, modality.name
    return None
