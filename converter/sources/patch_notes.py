"""A patch as text and numbers, to be written into a file or sent to other processes in bulk."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from patchpress.converter.sources.parquet_files import EmbeddedRow
from patchpress.converter.sources.patch import Patch
from patchpress.converter.sources.zip_files import ZippedFiles

_KINDS: dict[str, type[ZippedFiles] | type[EmbeddedRow]] = {
    "zip": ZippedFiles,
    "parquet": EmbeddedRow,
}


def noted(patch: Patch) -> tuple[Any, ...]:
    """All that is known of a patch of a folder, a zip or a table, as text, numbers and tuples."""
    known = (patch.key, patch.name, patch.identity, *_of_files(patch))
    if not patch.acquisitions:
        return known
    return (*known, tuple((*_of_files(one), one.date) for one in patch.acquisitions))


def from_note(modality: str, note: Sequence[Any]) -> Patch:
    """The patch of which `noted` gave this; tuples in it may have become lists."""
    key, name, identity, folder, before, after, values, elsewhere, *inside = note
    patch = Patch(
        modality=modality,
        key=key,
        name=name,
        identity=identity,
        folder=folder,
        before=before,
        after=after,
        values=tuple(values),
        archived=_elsewhere(elsewhere),
    )
    if not inside:
        return patch
    acquisitions = tuple(
        replace(
            patch, folder=of, before=b, after=a, values=tuple(v), archived=_elsewhere(z), date=date
        )
        for of, b, a, v, z, date in inside[0]
    )
    return replace(patch, acquisitions=acquisitions)


def _of_files(patch: Patch) -> tuple[Any, ...]:
    elsewhere: tuple[object, ...] | None = None
    for kind, made in _KINDS.items():
        if isinstance(patch.archived, made):
            elsewhere = kind, patch.archived.values
    return patch.folder, patch.before, patch.after, patch.values, elsewhere


def _elsewhere(noted: Sequence[Any] | None) -> ZippedFiles | EmbeddedRow | None:
    if noted is None:
        return None
    kind, values = noted
    return _KINDS[kind].from_values(values)
