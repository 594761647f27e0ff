"""Which writer a conversion takes: records in pages, or through LMDB; and the probe of the first.

Pages are faster, but not for all records, and only if LMDB reads what is written so: three small
records show that before a conversion begins.
"""

import logging
import warnings
from collections.abc import Iterable
from contextlib import closing
from mmap import mmap
from pathlib import Path

import xxhash

from patchpress.converter.encoding.encoder import Encoded, Recipe
from patchpress.converter.encoding.frame import PAGE_BYTES, ROOM, SMALLEST, frame_size
from patchpress.converter.options import Codec, Writer
from patchpress.converter.storage.folder import writing
from patchpress.converter.storage.journal import Journal
from patchpress.converter.storage.ownership import PROBE
from patchpress.converter.storage.pagedfile import PagedFile
from patchpress.converter.storage.pages import Pages
from patchpress.converter.storage.readback import ReadBackSample, refusal
from patchpress.readers.errors import OptionError, TargetError
from patchpress.readers.format.modality import Modality, record_form

_log = logging.getLogger(__name__)
# Bytes of the probe's records: on one page, just as many as fit on it, and on two.
PROBED = (SMALLEST, PAGE_BYTES - ROOM, PAGE_BYTES - ROOM + 1)


def why_not_in_pages(recipes: Iterable[Recipe]) -> str:
    """Why records cannot be written in pages; empty if they can."""
    for recipe in recipes:
        modality = recipe.modality
        form = record_form(modality.name, recipe.layout, modality.bands, modality.steps)
        reason = _why_not(modality.name, recipe.codec, form.size, any_size=recipe.keeps_sizes)
        if reason:
            return reason
    return ""


def why_not_of_modalities(modalities: Iterable[Modality]) -> str:
    """The same for records as a manifest describes them."""
    for one in modalities:
        size = one.form.size
        reason = _why_not(one.name, one.compression.codec, size, any_size=one.any_size)
        if reason:
            return reason
    return ""


def _why_not(name: str, codec: str, size: int, *, any_size: bool) -> str:
    if codec == Codec.zstd:
        return f"{name} records are compressed by zstd"
    if any_size:
        return f"{name} records are of any size"
    if codec == Codec.none and size < SMALLEST:
        return f"{name} records have {size:,} bytes, fewer than {SMALLEST:,}"
    return ""


def check_writer(asked: Writer, recipes: Iterable[Recipe]) -> None:
    """Make sure that the writer that is asked for can store these records.

    Raises:
        OptionError: it cannot.
    """
    reason = why_not_in_pages(recipes) if asked is Writer.pages else ""
    if reason:
        raise OptionError(f"writer pages is not possible: {reason}; leave it out, or choose lmdb")


def check_same_writer(asked: Writer, journal: Journal) -> None:
    """Make sure that an interrupted conversion goes on with the writer that it was begun with.

    Raises:
        TargetError: another one is asked for.
    """
    first = next(journal.lines(), None)
    if first is None:
        return
    begun = Writer.pages if first.paged else Writer.lmdb
    if asked not in (begun, Writer.auto):
        raise TargetError(
            f"{journal.path.parent} was begun with writer {begun}, not {asked}: leave out --writer "
            "to go on, or give --overwrite to begin anew"
        )
    _log.info("writer %s, as the conversion was begun that goes on", begun)


def choose_pages(
    asked: Writer, recipes: Iterable[Recipe], store: Path, *, goes_on: bool = False
) -> bool:
    """Whether a new data file in the folder `store` is written in pages, or else by LMDB.

    If an interrupted conversion `goes_on`, its journal says how, and nothing is tried here.

    Raises:
        TargetError: pages are asked for, but LMDB does not read them here; the folder cannot be
            written.
    """
    reason = why_not_in_pages(recipes)
    if goes_on:
        return asked is not Writer.lmdb and not reason
    return choose_pages_for(asked, reason, store)


def choose_pages_for(asked: Writer, reason: str, store: Path) -> bool:
    """The same for a new file of records that cannot be written in pages for a reason, if any.

    Raises:
        TargetError: as `choose_pages`.
    """
    if asked is Writer.lmdb:
        _log.info("writer lmdb, because it is asked for")
        return False
    if reason:
        _log.info("writer lmdb, because %s", reason)
        return False
    reason = probe(store)
    if reason and asked is Writer.pages:
        raise TargetError(
            f"writer pages is not possible: LMDB does not read in {store} what is written in pages "
            f"({reason}); leave it out, or choose lmdb"
        )
    if reason:
        warnings.warn(
            f"LMDB does not read in {store} what is written in pages ({reason}): the conversion "
            "goes through LMDB itself, which takes longer",
            stacklevel=2,
        )
        _log.info("writer lmdb, because LMDB does not read pages here: %s", reason)
        return False
    _log.info("writer pages, because records are large enough, and LMDB reads them")
    return True


def probe(store: Path) -> str:
    """Why LMDB does not read three records that are written in pages here; empty if it does.

    Raises:
        TargetError: the folder cannot be written.
    """
    path, sample = store / PROBE, ReadBackSample()
    try:
        with writing(path), closing(PagedFile(path, Pages())) as file:
            for number, length in enumerate(PROBED):
                key, frame = b"%d" % number, memoryview(mmap(-1, frame_size(length)))
                record = frame[ROOM : ROOM + length]
                record[:] = bytes((number + at) % 251 for at in range(length))
                file.put(key, length, frame)
                sample.add(key, Encoded(length, xxhash.xxh3_64_intdigest(record), None))
            file.close_tree(durable=False)  # it is removed at once
        return refusal(path, sample)
    finally:
        path.unlink(missing_ok=True)
