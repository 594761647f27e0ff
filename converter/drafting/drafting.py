"""`draft_of`: a folder looked at, and a first description of it as text."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from patchpress.converter.drafting.beside import add_what_lies_beside
from patchpress.converter.drafting.channels import scheme_of
from patchpress.converter.drafting.draft import Draft, DraftLabels, DraftModality
from patchpress.converter.drafting.looking import ARCHIVES, Look, look_at
from patchpress.converter.drafting.modalities import modalities_of
from patchpress.converter.drafting.naming import name_all
from patchpress.converter.drafting.text import toml_of
from patchpress.converter.drafting.tree import LABEL, clusters_in
from patchpress.converter.drafting.unpacked_samples import (
    UnpackedSamples,
    archives_in,
    unpack_samples,
)
from patchpress.converter.drafting.words import common_start, slug, tokens
from patchpress.converter.sources.recognize import kind_of, store_in
from patchpress.converter.text import first_few, several
from patchpress.readers.errors import SourceError, SourceMissing

MOST_MODALITIES = 40
FEW_ARCHIVES = 8  # of a modality that are named one by one


@dataclass(frozen=True, slots=True)
class Drafted:
    """A first description, and what it was made of."""

    draft: Draft
    toml: str
    look: Look
    looked: str
    """How much was looked at, as a clause."""
    whole: bool
    """Whether all of the folder was looked at."""
    packed: bool = False
    """Whether its patches come out of archives."""


def draft_of(source: Path) -> Drafted:
    """A first description of a folder.

    Raises:
        SourceMissing: there is no such folder.
        SourceError: it is a file or a store, or has no image that can be read.
    """
    _require_folder(source)
    look = look_at(source)
    if look.root.has_images():
        return _drafted(source, look, look, UnpackedSamples())
    packed = archives_in(look)
    if not packed:
        raise SourceError(_no_images(source, look))
    with TemporaryDirectory() as scratch:
        samples = unpack_samples(packed, Path(scratch))
        unpacked = look_at(Path(scratch))
        if not unpacked.root.has_images():
            said = samples.remarks[0] if samples.remarks else "they hold none."
            raise SourceError(f"{source} has no images, and none came of its archives: {said[:-1]}")
        return _drafted(source, unpacked, look, samples)


def _drafted(source: Path, look: Look, beside: Look, samples: UnpackedSamples) -> Drafted:
    """A first description of what was looked at.

    Args:
        source: the folder that is described.
        look: at it, or at what was unpacked of its archives.
        beside: at the folder itself, for what lies beside.
        samples: what was unpacked; nothing if the folder has images.
    """
    clusters = clusters_in(look.root)
    unread: list[str] = []
    found = [one for cluster in clusters for one in modalities_of(scheme_of(cluster), unread)]
    if not found:
        raise SourceError(f"{source} has no image that can be read: {unread[0]}")
    most = max(len(one.scheme.names) for one in found)
    found.sort(key=lambda one: _rank(one, most))
    _name_apart(found)
    whole = look.whole and not samples.opened
    name_all(found, whole=whole)
    name = slug(source.resolve().name).replace("_", "-")
    draft = Draft(name=name, modalities=found, whole=whole)
    _add_classes(draft)
    draft.remarks += samples.remarks
    _add_remarks(draft, look, unread)
    add_what_lies_beside(draft, beside)
    looked = _looked(look)
    if samples.opened:
        _add_archives(draft, samples)
        looked = f"the first {several(look.files, 'file')} of {several(samples.opened, 'archive')}"
    return Drafted(draft, toml_of(draft, looked), look, looked, whole, bool(samples.opened))


def _add_archives(draft: Draft, samples: UnpackedSamples) -> None:
    """Name the archives of each modality, unless they are called as its folder."""
    for modality in draft.modalities:
        files = [file for channel in modality.scheme.channels for file in channel.files]
        stems = sorted({samples.archive_of[file] for file in files if file in samples.archive_of})
        if len(stems) > FEW_ARCHIVES and len(common_start(stems)) > 2:
            stems = [f"{common_start(stems)}*"]
        if stems != [modality.folder]:
            modality.archives = stems


def _require_folder(source: Path) -> None:
    if not source.exists():
        raise SourceMissing(f"{source} does not exist")
    if not source.is_dir():
        kind = kind_of(source)
        what = f"is {kind.name}" if kind is not None else "is a file"
        raise SourceError(f"{source} {what}: give a folder with patches")
    store = store_in(source)
    if store:
        raise SourceError(store)


def _no_images(source: Path, look: Look) -> str:
    files = [name for seen in look.root.all_folders() for name in seen.files]
    if look.unread:
        return look.unread[0]
    endings = Counter(Path(name).suffix.lower() or "no ending" for name in files)
    kinds = ", ".join(ending for ending, _ in endings.most_common(3))
    there = f"{several(len(files), 'file')} ({kinds})" if files else "nothing"
    return (
        f"{source} has no images (.tif, .png, .jpg, .jp2, .npy): it holds {there}; "
        f"{several(look.listings, 'folder')} looked at"
    )


def _rank(modality: DraftModality, most: int) -> tuple[bool, bool, bool, bool, int]:
    """Images before maps, quicklooks last; those with most patches and bands first, bytes later."""
    words = {word.casefold() for word in tokens(modality.name)}
    is_quick = bool(words & {"ql", "quicklook", "thumbnail", "preview", "pixelmask"})
    is_bytes = modality.bands[0].dtype == "uint8"
    is_few = 10 * len(modality.scheme.names) < 8 * most
    bands = sum(band.count or 1 for band in modality.bands)
    return modality.kind != "image", is_quick, is_few, is_bytes, -bands


def _name_apart(modalities: list[DraftModality]) -> None:
    """Give each modality a name of its own."""
    taken: set[str] = set()
    for modality in modalities:
        literal = [part for part in modality.scheme.cluster.parts if "{" not in part]
        path = slug("_".join(literal))
        long = [path] if literal and len(path) <= 40 else []
        names = [modality.name, *long, *(f"{modality.name}_{n}" for n in range(2, 1_000))]
        modality.name = next(name for name in names if name not in taken and name != "rows")
        taken.add(modality.name)


def _add_classes(draft: Draft) -> None:
    """Labels of the folders that look like classes."""
    for modality in draft.modalities:
        names = modality.scheme.cluster.fields.get(LABEL)
        if names and LABEL in modality.columns and LABEL not in draft.labels:
            is_part = modality.scheme.cluster.cut or not draft.whole
            more = "; there may be more" if is_part else ""
            draft.labels[LABEL] = DraftLabels(names, f"whether these folders are classes{more}")


def _add_remarks(draft: Draft, look: Look, unread: list[str]) -> None:
    """What was seen and is not described."""
    if unread:
        draft.remarks.append(f"{len(unread):,} images could not be read: {first_few(unread, 2)}.")
    if look.unread:
        draft.remarks.append(f"{look.unread[0]}.")
    if look.strange:
        draft.remarks.append(f"Names that are no UTF-8 are left out: {first_few(look.strange)}.")
    packed = sorted(
        name
        for seen in look.root.all_folders()
        for name in seen.files
        if name.lower().endswith(ARCHIVES)
    )
    if packed:
        draft.remarks.append(
            f"Archives were not looked into: {first_few(packed)}. A folder is read before them; "
            "archives = [...] of a modality names those that hold it."
        )
    for modality in draft.modalities:
        draft.remarks += [f"{modality.name}: {note}." for note in modality.notes]
        if "season" in modality.columns and not modality.time:
            draft.remarks.append(
                f"{modality.name}: folders are seasons, which are no dates: each season of a place "
                "has a row of its own. Dates in names would make one record of a place."
            )
    if len(draft.modalities) > MOST_MODALITIES:
        draft.remarks.append(
            f"{len(draft.modalities)} modalities are many: this may be several data sets in one "
            "folder; describe each of them alone."
        )


def _looked(look: Look) -> str:
    text = f"{several(look.files, 'file')} in {several(look.listings, 'folder')}"
    if look.whole:
        return f"all of it, {text}"
    parts = several(len(look.cut), "folder")
    return f"a part of it, {text}; of {parts} not all names were read"
