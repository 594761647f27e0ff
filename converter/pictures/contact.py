"""The contact sheet of some patches: those of the records that were named, or drawn by a seed."""

from collections.abc import Sequence

from patchpress.converter.pictures.asked import PictureAsked, number_asked
from patchpress.converter.pictures.choice import (
    RowsFound,
    complete_rows,
    find_rows,
    rows_of_keys,
    target_of,
)
from patchpress.converter.pictures.class_colours import MapClasses, classes_of
from patchpress.converter.pictures.page import PicturePage
from patchpress.converter.pictures.patch_texts import patch_columns, shown_patches
from patchpress.converter.pictures.pixels import read_views
from patchpress.converter.pictures.sheet import SheetTexts, draw_sheet
from patchpress.converter.pictures.views import views_of
from patchpress.converter.text import several

PATCHES, MOST_PATCHES = 6, 100


def contact_sheet(asked: PictureAsked) -> PicturePage:
    """Draw patches, one row each, with what belongs to each of them.

    Raises:
        KeyMissing: a record that is not there.
        SelectionEmpty, OptionError: a wish that the store cannot fulfil.
    """
    store = asked.store
    names = asked.shown_modalities()
    if asked.keys:
        rows = rows_of_keys(store, asked.keys, caption_columns(asked))
        subtitle = "the patches of the records that were named"
    else:
        found = find_rows(store, asked.rows, caption_columns(asked))
        count = number_asked(asked.count, PATCHES, MOST_PATCHES)
        whole = complete_rows(found, names, count)
        rows = whole.drawn(count, asked.seed)
        subtitle = drawn_text(asked, found, whole, rows)
    title = f"{several(len(rows), 'patch', 'patches')} of {asked.title}"
    return sheet_of(asked, rows, SheetTexts(title, subtitle))


def sheet_of(asked: PictureAsked, rows: RowsFound, texts: SheetTexts) -> PicturePage:
    """Draw chosen rows, which have the columns that captions need."""
    manifest = asked.store.manifest
    names = asked.shown_modalities()
    patches = shown_patches(manifest, rows, target_of(asked.store, asked.rows.target))
    views = views_of(manifest, asked.description, names)
    drawn = read_views(asked.store, patches, views, map_classes(asked, names))
    return draw_sheet(patches, drawn, texts)


def map_classes(asked: PictureAsked, names: Sequence[str]) -> dict[str, MapClasses]:
    """The classes of each modality of codes."""
    manifest = asked.store.manifest
    return {
        name: classes_of(manifest.modality(name), manifest, asked.description)
        for name in names
        if manifest.modality(name).kind == "classes"
    }


def caption_columns(asked: PictureAsked) -> list[str]:
    """The columns of the table that captions need."""
    return patch_columns(asked.store, target_of(asked.store, asked.rows.target))


def drawn_text(asked: PictureAsked, found: RowsFound, whole: RowsFound, rows: RowsFound) -> str:
    """How some patches were chosen."""
    of = f" of {found.words}" if found.words else ""
    has = f" with {' and '.join(asked.shown_modalities())}" if len(whole) < len(found) else ""
    there = f"{several(len(whole), 'patch', 'patches')}{of}{has}"
    how = (
        f"drawn with seed {asked.seed} from {there}" if len(rows) < len(whole) else f"all: {there}"
    )
    return f"{how}{found.left_out_text()}"
