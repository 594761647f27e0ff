"""`datasets`: what can be converted, what each expects on disk, and which one a folder is."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from patchpress.converter.descriptions.description import Description, ModalitySource
from patchpress.converter.descriptions.parse import (
    built_in_descriptions,
    description_file,
    load_description,
)
from patchpress.converter.paths import StrPath, local_path
from patchpress.converter.sources.archive_names import archive_name
from patchpress.converter.sources.near_names import near_names
from patchpress.converter.sources.recognize import (
    fitting,
    known_descriptions,
    sights,
    store_in,
)
from patchpress.readers.errors import DescriptionError, SourceError, SourceMissing
from patchpress.readers.showing import columns_of


def datasets(*, show: str | None = None, guess: StrPath | None = None) -> str:
    """Say what can be converted, and what each dataset must look like on disk.

    Args:
        show: name of a built-in dataset: its description, as TOML, instead.
        guess: a folder or an archive: which descriptions fit it, instead. If none does, patches
            are looked for two folders deeper, above, and in archives of any name.

    Raises:
        DescriptionError: there is no dataset of that name.
        SourceMissing: there is no such folder.
        SourceError: no description fits it.
    """
    if guess is not None:
        return _guess(local_path(guess))
    if show is not None:
        return _toml(show)
    descriptions = map(load_description, built_in_descriptions().values())
    return "\n\n".join(_dataset_lines(description) for description in descriptions)


def _dataset_lines(description: Description) -> str:
    dataset = description.dataset
    rows: list[list[object]] = []
    for modality in description.modalities.values():
        note = f"{len(modality.bands)} bands" if len(modality.bands) > 1 else "1 band"
        rows.append([modality.name, f"{modality.folder}/{modality.paths[0]}", note])
        rows += [["", packed, "archive"] for packed in _packed(modality, description.md5)]
    rows += [[name, file, "table"] for name, file in description.files().items()]
    head = f"{dataset.name}: {dataset.title}\n  licence {dataset.licence}, {dataset.url}"
    untried = [f"  {description.untried}"] if description.untried else []
    return "\n".join([head, *untried, *columns_of(rows)])


def _packed(modality: ModalitySource, published: Iterable[str]) -> list[str]:
    """The archives of a modality, each with its published endings, or all that can be read."""
    known: dict[str, list[str]] = {stem: [] for stem in modality.archives}
    for file in published:
        name = archive_name(file)
        if name is None or name.stem not in known:
            continue
        ending = file.removeprefix(name.stem)
        if not name.part:
            known[name.stem].append(ending)
        elif set(name.part) <= set("a0"):  # of its parts the first says enough
            known[name.stem].append(f"{ending}, …")
    lines = [
        f"{stem}{_either(endings or ['.tar.zst', '.tar.gz', '.tar', '.zip'])}"
        for stem, endings in known.items()
    ]
    return [f"{'and' if number else 'or'} {text}" for number, text in enumerate(lines)]


def _either(words: Sequence[str]) -> str:
    """``a, b or c``."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def _guess(source: Path) -> str:
    """What a folder looks like: the built-in descriptions that fit it, or what is near it."""
    if not source.exists():
        raise SourceMissing(f"source {source} does not exist")
    fits = fitting(source) if source.is_dir() else {}
    if fits:
        return "\n".join(
            columns_of([[n, f"has {', '.join(parts)}"] for n, parts in fits.items()], "")
        )
    store = store_in(source)
    if store:
        return store
    rows = [[s.dataset, f"{s.place} ({s.what}): {s.way_out}"] for s in sights(source)]
    if not rows and source.is_dir():
        rows = [
            [name, f"{near.path} ({modality.name}, nearly): {near.way_out}"]
            for name, description in known_descriptions().items()
            for modality in description.modalities.values()
            for near in near_names(modality, description.modalities, source)
        ]
    if rows:
        return "\n".join(columns_of(rows, ""))
    raise SourceError(
        f"no description fits {source}; see `patchpress datasets` for what each expects; "
        f"`patchpress describe {source}` writes a first one of your own"
    )


def _toml(name: str) -> str:
    """The TOML text of a built-in description."""
    file = description_file(name)
    if file not in built_in_descriptions().values():
        raise DescriptionError(f"{name} is a file of yours: only built-in ones are shown")
    return file.read_text(encoding="utf-8").rstrip()
